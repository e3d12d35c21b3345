"""
OpenSSH certificates, kubeconfig, JSON Web Key Sets and SAML metadata.
"""

import base64
import json

import pytest

from exporter.formats import kubeconfig as module
from exporter.formats import parse
from exporter.formats.budget import STEPS
from exporter.formats.parsed import ParseContext
from exporter.model.reasons import Reason
from tests.formats.samples import (
    acme_json,
    issuer,
    key_set,
    kubeconfig,
    leaf,
    metadata,
    read,
    reasons,
    root,
    ssh_certificate,
    ssh_public_key,
    told,
    traefik_entry,
    x5c,
)
from tests.support.certificates import DAY, NOW


def test_an_openssh_certificate_has_the_dates_it_was_signed_with() -> None:
    """
    Begin and end are numbers in it (PROTOCOL.certkeys).
    """
    (item,) = read(ssh_certificate()).items
    assert (item.name, item.kind) == ("ssh", "ssh")
    assert (item.not_before, item.not_after) == (NOW - DAY, NOW + 30 * DAY)


@pytest.mark.parametrize("valid_before", [2**64 - 1, 2**60])
def test_an_openssh_certificate_for_ever_is_no_item(valid_before: int) -> None:
    """
    Without `-V`, ssh-keygen signs for ever: there is nothing that expires.
    """
    parsed = read(ssh_certificate(valid_before))
    assert parsed.items == ()
    assert parsed.lasting == ("an OpenSSH certificate that is valid for ever",)


def test_several_openssh_certificates_and_a_broken_one() -> None:
    """
    One a line, as in files of authorized keys; the broken one is named by its line.
    """
    good = ssh_certificate()
    broken = b"ssh-ed25519-cert-v01@openssh.com AAAA\n"
    unknown = b"ssh-new-cert-v01@openssh.com AAAA\n"
    parsed = read(good + b"# note\n" + broken + good + unknown)
    assert list(told(parsed)) == ["ssh-1", "ssh-2"]
    assert reasons(parsed) == ["format_broken", "format_broken"]
    assert "line 3" in parsed.problems[0].detail


@pytest.mark.parametrize(
    "data",
    [
        ssh_public_key(),
        b"# a comment\n\n" + ssh_public_key(),
        b'command="ls",no-pty ' + ssh_public_key(),
        b"host.example,192.0.2.1 " + ssh_public_key(),
        b"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=",
        b"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t me\r\n",
        b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n",
    ],
    ids=range(7),
)
def test_ssh_public_keys_are_keys(data: bytes) -> None:
    """
    They have no end, and are left out of patterns like all keys.
    """
    parsed = read(data)
    assert (parsed.items, parsed.problems) == ((), ())
    assert parsed.lasting == ("SSH public keys",)


def test_a_kubeconfig_may_be_json_of_any_shape() -> None:
    """
    `kubectl config view -o json`, indented or in one line.
    """
    user = {"client-certificate-data": base64.b64encode(leaf().pem).decode()}
    document = json.loads(kubeconfig(admin=user))
    for text in (
        json.dumps(document),
        json.dumps(document, separators=(",", ":")),
        json.dumps(document, indent="\t"),
        "---\n" + json.dumps(document),
    ):
        parsed = read(text.encode())
        assert told(parsed) == {"user/admin": "leaf", "cluster/prod": "authority"}
        assert parsed.problems == ()


def test_of_several_yaml_documents_the_first_is_read_and_the_rest_is_told() -> None:
    """
    As kubectl does, which reads the first and says nothing of the others.
    """
    first, second = kubeconfig(), kubeconfig(late={"token": "t0ken"})
    parsed = read(b"# mine\n---\n" + first + b"\n---\n" + second)
    assert told(parsed) == {"cluster/prod": "authority"}
    assert reasons(parsed) == ["format_broken"]
    assert "several YAML documents" in parsed.problems[0].detail
    assert read(first + b"\n---\n# nothing more\n").problems == ()


def test_halves_of_characters_in_json_harm_nothing() -> None:
    """
    JSON can state what is no text: a name with it is printed, a path with it is none.
    """
    document = json.loads(kubeconfig(admin={"client-certificate-data": "!"}))
    document["users"][0]["name"] = "a\ud800"
    (problem,) = read(json.dumps(document).encode()).problems
    assert problem.detail.startswith("user/a?")


def test_kubeconfig_names_users_and_clusters() -> None:
    """
    The client's certificate and the cluster's authority are embedded as PEM in base64.
    """
    embedded = base64.b64encode(leaf().chain_pem).decode()
    parsed = read(kubeconfig(admin={"client-certificate-data": embedded, "client-key-data": "c2VjcmV0"}))
    assert told(parsed) == {
        "user/admin": "leaf",
        "user/admin/chain-1": "intermediate",
        "cluster/prod": "authority",
    }
    assert parsed.problems == ()


def test_kubeconfig_names_the_files_that_it_refers_to() -> None:
    """
    They are for the probe to read; data goes before a file, and a token is nothing that expires.
    """
    parsed = read(
        kubeconfig(
            file={"client-certificate": "certs/a.pem"},
            both={
                "client-certificate": "b",
                "client-certificate-data": base64.b64encode(leaf().pem).decode(),
            },
            token={"token": "t0ken"},
        )
    )
    assert [(one.path, one.prefix) for one in parsed.references] == [("certs/a.pem", "user/file")]
    assert set(told(parsed)) == {"user/both", "cluster/prod"}
    assert parsed.lasting == ("a user without a certificate",)
    assert "t0ken" not in repr(parsed)


@pytest.mark.parametrize("data", ["!!!!", base64.b64encode(b"no PEM").decode()])
def test_kubeconfig_with_broken_data_keeps_the_rest(data: str) -> None:
    """
    The user is named, the cluster is told.
    """
    parsed = read(kubeconfig(admin={"client-certificate-data": data}))
    assert told(parsed) == {"cluster/prod": "authority"}
    assert parsed.problems[0].detail.startswith("user/admin")


@pytest.mark.parametrize("tail", [b"\n  bad: [", b"\n- x\ny: z: t0ken"])
def test_kubeconfig_that_is_no_yaml_repeats_nothing_of_it(tail: bytes) -> None:
    """
    Its values may be secrets.
    """
    parsed = read(b"kind: Config\nclusters: []\nusers: []" + tail)
    assert reasons(parsed) == ["format_broken"]
    assert "t0ken" not in parsed.problems[0].detail


def test_kubeconfig_with_too_much_in_it_says_so() -> None:
    """
    It is YAML, but what aliases repeat is too deep or too much; of what is no YAML no value is repeated.
    """
    head = b"apiVersion: v1\nkind: Config\nclusters: []\n"
    bomb = head + b"a: &a [x]\n" + b"".join(b"%c: &%c [*%c]\n" % (n, n, n - 1) for n in range(98, 123))
    deep = head + b"users: " + b"[" * 50 + b"]" * 50
    for data, words in (
        (bomb + b"more: [[[[[[[*z]]]]]]]\n", "nested more than 32 deep"),
        (deep, "line 4: lists and mappings are nested more than 32 deep"),
        (head + b"users: *secret", "line 4: is not valid YAML"),
    ):
        (problem,) = read(data).problems
        assert words in problem.detail
        assert "secret" not in problem.detail


def test_kubeconfig_has_a_size_limit() -> None:
    """
    YAML takes long to read.
    """
    assert reasons(read(kubeconfig() + b" " * module.SIZE_LIMIT)) == ["format_broken"]


def test_a_key_set_names_keys() -> None:
    """
    By their identifiers, or by their places where they have none.
    """
    parsed = read(
        key_set(
            {"kid": "one", "x5c": x5c(leaf(), issuer())}, {"x5c": x5c(root())}, {"kid": "bare", "kty": "EC"}
        )
    )
    assert told(parsed) == {"one": "leaf", "one/chain-1": "intermediate", "key-2": "authority"}
    assert parsed.lasting == ("a key without a certificate",)


@pytest.mark.parametrize(
    "key", [3, {"x5c": "text"}, {"x5c": [3]}, {"x5c": ["!"]}, {"x5c": ["AAAA"]}, {"x5c": ["ü"]}]
)
def test_a_broken_key_hides_no_other(key: object) -> None:
    """
    The other keys of the set are told.
    """
    parsed = read(key_set(key, {"kid": "good", "x5c": x5c(leaf())}))  # type: ignore[arg-type]  # that is the test
    assert told(parsed) == {"good": "leaf"}
    assert reasons(parsed) == ["format_broken"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"keys": 3}', "format_unknown"),
        (b'{"keys": [', "format_broken"),
        (b'{"keys":' + b"[" * 100_000, "format_broken"),
    ],
    ids=range(3),
)
def test_json_that_is_no_key_set(data: bytes, reason: str) -> None:
    """
    No list is something else's JSON; cut off, or nested to exhaust the stack, is damage.
    """
    assert reasons(read(data)) == [reason]


def test_metadata_has_its_validity_and_each_key_once() -> None:
    """
    `validUntil` is an item, since its begin the file's own time; the same key in two roles is told once.
    """
    parsed = read(metadata(), modified=NOW)
    assert told(parsed) == {"metadata": "metadata", "signing-1": "leaf"}
    validity = parsed.items[0]
    assert (validity.not_before, validity.not_after) == (NOW, 1_801_440_000.0)


def test_metadata_pays_for_certificates_that_are_none() -> None:
    """
    Each costs a dozen microseconds, and so many steps: else a large file of them takes several seconds.
    """
    given = ParseContext()
    text = "<ds:X509Certificate>MII</ds:X509Certificate>" * 1000
    data = metadata().replace(b"</ds:X509Data>", text.encode() + b"</ds:X509Data>", 1)
    assert len(parse(data, given).problems) == 1000
    assert STEPS - given.budget.left > 14_000


def test_metadata_may_say_when_it_was_made() -> None:
    """
    The registration extension of federations (MDRPI) has the time.
    """
    info = (
        '<md:Extensions><r:PublicationInfo xmlns:r="urn:oasis:names:tc:SAML:metadata:rpi" publisher="p" '
        'creationInstant="2027-01-10T00:00:00Z"/></md:Extensions>'
    )
    assert read(metadata(extra=info), modified=NOW).items[0].not_before == 1_799_539_200.0
    # Without either, it is taken to be as long as such metadata usually is valid.
    assert read(metadata()).items[0].not_before == 1_801_440_000.0 - 14 * DAY


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (metadata("soon"), "validUntil"),
        (metadata()[:-20], "well-formed"),
        (metadata(head='<!DOCTYPE x [<!ENTITY a "aaaa">]>'), "document type"),
        (metadata(extra="<a>" * 200), "deep"),
        (metadata().replace(b"X509Certificate>MII", b"X509Certificate>!!!"), "can't be read"),
        (b"<x xmlns='urn:oasis:names:tc:SAML:2.0:metadata'/>", "outermost"),
    ],
)
def test_metadata_that_is_broken_or_an_attack(data: bytes, words: str) -> None:
    """
    Entities are never expanded: a document type ends the reading.
    """
    parsed = read(data)
    assert reasons(parsed)[0] == "format_broken"
    assert words in parsed.problems[0].detail


@pytest.mark.parametrize(
    ("declared", "encoding", "reason"),
    [
        ("UTF-16", "utf-16", None),
        ("ISO-8859-1", "latin-1", None),
        ("Shift_JIS", "shift_jis", Reason.FORMAT_UNSUPPORTED),
        ("UTF-9", "utf-8", Reason.FORMAT_BROKEN),
    ],
)
def test_metadata_in_other_encodings(declared: str, encoding: str, reason: Reason | None) -> None:
    """
    Is read, or told to be what is not read here.
    """
    text = (
        f'<?xml version="1.0" encoding="{declared}"?><EntityDescriptor entityID="a" '
        'xmlns="urn:oasis:names:tc:SAML:2.0:metadata" validUntil="2027-03-01T00:00:00Z"/>'
    )
    found = parse(text.encode(encoding), ParseContext())
    assert [one.not_after for one in found.items] == ([1_803_859_200.0] if reason is None else [])
    assert [one.reason for one in found.problems] == ([reason] if reason is not None else [])


def test_traefik_names_certificates_by_their_domain() -> None:
    """
    Of all resolvers; a broken one hides no other, and no key is repeated.
    """
    good = traefik_entry("www.example.com", leaf().chain_pem)
    parsed = read(acme_json(good, {"domain": {"main": "bad.example.com"}, "certificate": "!"}, 7))
    assert told(parsed) == {"www.example.com": "leaf", "www.example.com/chain-1": "intermediate"}
    assert [one.detail for one in parsed.problems] == [
        "the certificate of 'bad.example.com' is not PEM in base64",
        "the certificate of '3' is not PEM in base64",
    ]
    assert parsed.lasting == ("a private key",)
    first_version = {"Certificates": [{"Domain": {"Main": "old"}, "Certificate": good["certificate"]}]}
    assert set(told(read(json.dumps(first_version).encode()))) == {"old", "old/chain-1"}
    assert reasons(read(acme_json(good)[:-3])) == ["format_broken"]


@pytest.mark.parametrize("domains", [{"Main": "www.example.com", "SANs": None}, None])
def test_traefik_before_version_1_7(domains: dict[str, object] | None) -> None:
    """
    One account, with its certificates one level deeper. What has another form is a problem alone.
    """
    chain = base64.b64encode(leaf().chain_pem).decode()
    inside = {"Domain": "www.example.com", "PrivateKey": "c2VjcmV0", "Certificate": chain}
    entries = [{"Domains": domains, "Certificate": inside}, 5, {"Certificate": 5}]
    data = json.dumps({"Email": "a@example.com", "DomainsCertificate": {"Certs": entries}}).encode()
    found = read(data)
    assert told(found) == {"www.example.com": "leaf", "www.example.com/chain-1": "intermediate"}
    assert [one.reason for one in found.problems] == [Reason.FORMAT_BROKEN] * 2
    others: list[object] = [None, [], {"Certs": 5}]
    for other in others:
        assert reasons(read(json.dumps({"DomainsCertificate": other}).encode())) == []


def test_traefik_without_certificates_yet_is_no_failure() -> None:
    """
    As a new Traefik writes it.
    """
    assert reasons(read(b'{"le": {"Account": {"Email": ""}, "Certificates": null}}')) == []
