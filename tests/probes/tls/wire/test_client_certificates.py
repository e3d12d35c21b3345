"""
Servers that ask for a client certificate: what they show is reported, and so is what they said.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from tests.probes.tls.wire.probing import NAME, detail, items, leaf_of, see, shown, tls, told
from tests.support.certificates import NOW, authority, write_pair
from tests.support.processes import free_port
from tests.support.servers import Server, Site, haproxy, nginx, s_server, stunnel

Settings = dict[str, Any]
"""Fields of a target."""

SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="session")
def client_ca() -> Minted:
    """
    The CA whose client certificates servers accept.
    """
    above = authority("Clients").issuer
    assert above is not None
    return above


def client(ca: Minted) -> tuple[Minted, ...]:
    """
    A client certificate by this CA.
    """
    return ca.issue("probe", extended_key_usage=[ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]).chain


@pytest.fixture
def good(tmp_path: Path, client_ca: Minted) -> Settings:
    """
    Settings of a target with a client certificate that servers accept.
    """
    certificate, key = write_pair(tmp_path, "client", client(client_ca))
    return {"client_certificate_file": str(certificate), "client_key_file": str(key)}


@pytest.fixture
def untrusted(tmp_path: Path) -> Settings:
    """
    Settings of a target with a client certificate that servers refuse.
    """
    certificate, key = write_pair(tmp_path, "stranger", client(authority("Strangers")))
    return {"client_certificate_file": str(certificate), "client_key_file": str(key)}


Serve = Callable[[Path, tuple[Minted, ...], Minted], AbstractContextManager[Server]]


def _s_server(version: str) -> Serve:
    return lambda directory, chain, ca: s_server(directory, chain, version, client_ca=ca)


def _haproxy(version: str) -> Serve:
    limits = f"ssl-min-ver {version} ssl-max-ver {version}"
    return lambda directory, chain, ca: haproxy(directory, chain, client_ca=ca, settings=limits)


def _nginx(version: str) -> Serve:
    settings = [f"ssl_protocols {version}"]
    return lambda directory, chain, ca: nginx(directory, Site([chain], client_ca=ca, settings=settings))


def _stunnel(version: str) -> Serve:
    @contextmanager
    def serve(directory: Path, chain: tuple[Minted, ...], ca: Minted) -> Iterator[Server]:
        trusted = directory / "stunnel-ca.pem"
        trusted.write_bytes(ca.pem)
        limits = [f"sslVersionMin = {version}", f"sslVersionMax = {version}"]
        settings = ["verifyChain = yes", f"CAfile = {trusted}", *limits]
        with stunnel(directory, chain, settings=settings) as server:
            yield server

    return serve


SERVERS = {
    "s_server TLS 1.2": ("tls", _s_server("-tls1_2")),
    "s_server TLS 1.3": ("tls", _s_server("-tls1_3")),
    "HAProxy TLS 1.2": ("https", _haproxy("TLSv1.2")),
    "HAProxy TLS 1.3": ("https", _haproxy("TLSv1.3")),
    "stunnel TLS 1.2": ("tls", _stunnel("TLSv1.2")),
    "stunnel TLS 1.3": ("tls", _stunnel("TLSv1.3")),
    # nginx finishes the handshake and refuses each request (HTTP status 400).
    "nginx TLS 1.2": ("https", _nginx("TLSv1.2")),
    "nginx TLS 1.3": ("https", _nginx("TLSv1.3")),
}


@pytest.mark.parametrize(("scheme", "serve"), SERVERS.values(), ids=list(SERVERS))
def test_a_server_that_demands_a_client_certificate(
    tmp_path: Path,
    leaf: Minted,
    anchors: str,
    client_ca: Minted,
    good: Settings,
    untrusted: Settings,
    scheme: str,
    serve: Serve,
) -> None:
    """
    None is a failure, one by a stranger another, a good one is a success; the server's is always reported.
    """
    with serve(tmp_path, leaf.chain, client_ca) as server:
        without = see(server, scheme=scheme, ca_file=anchors)
        wrong = see(server, scheme=scheme, ca_file=anchors, **untrusted)
        right = see(server, scheme=scheme, ca_file=anchors, **good)
    assert told(without) == ("client_certificate_required",)
    assert "got none" in detail(without) or "has none configured" in detail(without)
    assert told(wrong) == ("client_certificate_refused",)
    assert "ours" in detail(wrong) or "our client certificate" in detail(wrong)
    assert told(right) == ("seen",)
    for row in (without, wrong, right):
        assert shown(row, *leaf.chain)
        assert tls(row).client_certificate_requested


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_a_server_that_only_asks_is_a_success(
    tmp_path: Path, leaf: Minted, anchors: str, client_ca: Minted, protocol: str, scheme: str
) -> None:
    """
    With `ssl_verify_client optional` nginx serves those without, too.
    """
    trusted = tmp_path / "optional.pem"
    trusted.write_bytes(client_ca.pem)
    settings = [
        f"ssl_protocols {protocol}",
        "ssl_verify_client optional",
        f"ssl_client_certificate {trusted}",
    ]
    with nginx(tmp_path, Site([leaf.chain], settings=settings)) as server:
        row = see(server, scheme=scheme, ca_file=anchors)
    assert told(row) == ("seen",)
    assert tls(row).client_certificate_requested


def test_a_server_that_does_not_ask_says_so(healthy: Server) -> None:
    """
    The request is a fact, and there was none.
    """
    assert not tls(see(healthy)).client_certificate_requested


def test_an_expired_server_that_demands_a_client_certificate(
    tmp_path: Path, ca: Minted, anchors: str, client_ca: Minted
) -> None:
    """
    The failure of the look does not hide the fault.
    """
    begin = ca.certificate.not_valid_before_utc
    old = ca.issue(NAME, [NAME], not_before=begin, not_after=begin.replace(month=6))
    with s_server(tmp_path, old.chain, client_ca=client_ca) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("client_certificate_required", "expired")


def _missing(directory: Path, good: Settings) -> Settings:
    return {**good, "client_key_file": str(directory / "nowhere.key")}


def _garbage(directory: Path, good: Settings) -> Settings:
    file = directory / "garbage.pem"
    file.write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n", encoding="ascii")
    return {**good, "client_key_file": str(file)}


def _a_directory(directory: Path, good: Settings) -> Settings:
    return {**good, "client_certificate_file": str(directory)}


def _no_key(_: Path, good: Settings) -> Settings:
    return {"client_certificate_file": good["client_certificate_file"]}


def _empty(directory: Path, good: Settings) -> Settings:
    file = directory / "empty.pem"
    file.write_bytes(b"")
    return {**good, "client_certificate_file": str(file)}


def _encrypt(directory: Path, good: Settings) -> Settings:
    """
    The same with its key encrypted with the password SECRET, which is not among the settings.
    """
    key = serialization.load_pem_private_key(Path(good["client_key_file"]).read_bytes(), None)
    file = directory / "encrypted.key"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(SECRET.encode()),
        )
    )
    return {**good, "client_key_file": str(file)}


def _wrong_password(directory: Path, good: Settings) -> Settings:
    return {**_encrypt(directory, good), "client_key_password": f"not-{SECRET}"}


def _needless_password(_: Path, good: Settings) -> Settings:
    return {**good, "client_key_password": SECRET}


def _foreign_key(directory: Path, good: Settings) -> Settings:
    _, key = write_pair(directory, "other", client(authority("Other")))
    return {**good, "client_key_file": str(key)}


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        (_missing, "nowhere.key"),
        (_garbage, "garbage.pem"),
        (_a_directory, ""),
        (_no_key, "client.pem"),
        (_empty, "empty.pem"),
        (_encrypt, "encrypted"),
        (_wrong_password, "wrong password"),
        (_needless_password, "password"),
        (_foreign_key, "other.key"),
    ],
)
def test_client_certificate_files_that_are_of_no_use(
    tmp_path: Path,
    healthy: Server,
    anchors: str,
    good: Settings,
    broken: Callable[[Path, Settings], Settings],
    names: str,
) -> None:
    """
    The failure names the file and the trouble, and nothing of a key or password.
    """
    row = see(healthy, ca_file=anchors, **broken(tmp_path, good))
    assert told(row) == ("client_certificate_unusable",)
    # The server's own is seen all the same, and judged.
    assert leaf_of(row).common_name == NAME
    assert row.held.seen_at == NOW
    assert names in detail(row)
    assert SECRET not in detail(row)
    assert "PRIVATE KEY" not in detail(row)


@pytest.mark.parametrize(("scheme", "serve"), SERVERS.values(), ids=list(SERVERS))
def test_a_server_that_demands_what_can_not_be_used(
    tmp_path: Path,
    leaf: Minted,
    anchors: str,
    client_ca: Minted,
    good: Settings,
    scheme: str,
    serve: Serve,
) -> None:
    """
    The cause is on our side, and is the one that is told; what the server showed before its refusal is seen.
    """
    with serve(tmp_path, leaf.chain, client_ca) as server:
        row = see(server, scheme=scheme, ca_file=anchors, **_foreign_key(tmp_path, good))
    assert told(row) == ("client_certificate_unusable",)
    assert "is not that of" in detail(row)
    assert shown(row, *leaf.chain)
    assert items(row) == ["leaf", "chain-1", "client"]


def test_an_unusable_certificate_does_not_hide_that_the_server_is_down(
    tmp_path: Path, good: Settings
) -> None:
    """
    That is what keeps every client out. Both are told.
    """
    row = see(free_port(), **_foreign_key(tmp_path, good))
    assert told(row) == ("connection_refused",)
    assert "is not that of" in detail(row)
    assert items(row) == ["client"]


@pytest.mark.parametrize("keys", ["any", "both"])
def test_both_kinds_of_keys_are_seen_without_our_own(
    tmp_path: Path, healthy: Server, good: Settings, keys: str
) -> None:
    """
    Each handshake is done without it.
    """
    row = see(healthy, keys=keys, **_missing(tmp_path, good))
    assert told(row)[0] == "client_certificate_unusable"
    assert items(row)[0].startswith("leaf")
    assert items(row)[-1] == "client"


def test_an_encrypted_key_with_its_password(
    tmp_path: Path, leaf: Minted, anchors: str, client_ca: Minted, good: Settings
) -> None:
    """
    It is used like any other.
    """
    settings = {**_encrypt(tmp_path, good), "client_key_password": SECRET}
    with s_server(tmp_path, leaf.chain, client_ca=client_ca) as server:
        assert told(see(server, ca_file=anchors, **settings)) == ("seen",)


def test_key_and_certificate_in_one_file(
    tmp_path: Path, leaf: Minted, anchors: str, client_ca: Minted, good: Settings
) -> None:
    """
    Without a key file the certificate's is read for the key.
    """
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(file).read_bytes() for file in good.values()))
    with s_server(tmp_path, leaf.chain, client_ca=client_ca) as server:
        assert told(see(server, ca_file=anchors, client_certificate_file=str(both))) == ("seen",)


def test_a_client_certificate_that_is_replaced_is_read_again(
    tmp_path: Path, leaf: Minted, anchors: str, client_ca: Minted, untrusted: Settings
) -> None:
    """
    The next look after a renewal uses the new files.
    """
    with s_server(tmp_path, leaf.chain, client_ca=client_ca) as server:
        assert told(see(server, ca_file=anchors, **untrusted)) == ("client_certificate_refused",)
        write_pair(tmp_path, "stranger", client(client_ca))
        assert told(see(server, ca_file=anchors, **untrusted)) == ("seen",)


@pytest.mark.parametrize("key", ["rsa-2048", "ecdsa-384", "ed25519"])
def test_client_keys_of_every_kind(
    tmp_path: Path, leaf: Minted, anchors: str, client_ca: Minted, key: str
) -> None:
    """
    RSA, ECDSA and Ed25519 are all used.
    """
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]
    certificate, file = write_pair(
        tmp_path, "kind", client_ca.issue("probe", extended_key_usage=usage, key=key).chain
    )
    with s_server(tmp_path, leaf.chain, client_ca=client_ca) as server:
        row = see(
            server, ca_file=anchors, client_certificate_file=str(certificate), client_key_file=str(file)
        )
    assert told(row) == ("seen",)
