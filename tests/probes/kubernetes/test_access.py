"""
How a cluster is reached: kubeconfig and its contexts, the service account of a pod, what rotates.
"""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from exporter.demo.minter import Minted
from exporter.demo.minter import root as new_root
from tests.formats.samples import leaf
from tests.probes.kubernetes.api_server import TOKEN, FakeApiServer, Object, api_server, kubeconfig, secret
from tests.probes.kubernetes.looking import World, eventually, of, seen_by
from tests.support.processes import free_port
from tests.support.rows import detail, told

WEB = {"prod/web:tls.crt": "seen"}

Make = Callable[[FakeApiServer, Path], Object | str]


def look(tmp_path: Path, make: Make, path: str = "prod/web", **settings: Any) -> tuple[dict[str, str], str]:
    """
    What is told of a target with this kubeconfig, and the sentence of its failure, if it is one.
    """

    async def run() -> tuple[dict[str, str], str]:
        async with api_server() as fake:
            fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
            made = make(fake, tmp_path)
            file = tmp_path / "kubeconfig"
            file.write_text(made if isinstance(made, str) else json.dumps(made), encoding="utf-8")
            async with seen_by(fake, {"KUBECONFIG": str(file)}, tmp_path / "none") as here:
                rows = await here.look(of(path, **settings))
                found = told(rows)
                return found, "" if found == WEB else detail(rows[0])

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def in_pod(directory: Path) -> AsyncIterator[World]:
    """
    Who looks from a pod whose service account has its files in a directory.
    """
    async with api_server() as fake:
        fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        (directory / "ca.crt").write_bytes(fake.authority.pem)
        (directory / "token").write_text(TOKEN, encoding="ascii")
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(fake.port)}
        async with seen_by(fake, environ, directory) as here:
            yield here


def client(fake: FakeApiServer) -> Minted:
    """
    A certificate that the server takes.
    """
    return fake.authority.issue("exporter", extended_key_usage=["1.3.6.1.5.5.7.3.2"])


def encoded(data: bytes) -> str:
    """
    Base64.
    """
    return base64.b64encode(data).decode("ascii")


def with_token_file(fake: FakeApiServer, directory: Path) -> Object:
    """
    The token in a file beside it.
    """
    (directory / "token").write_text(f"{TOKEN}\n", encoding="ascii")
    return kubeconfig(fake, {"tokenFile": "token"})


def with_embedded_certificate(fake: FakeApiServer, _: Path) -> Object:
    """
    A client certificate and its key, embedded.
    """
    own = client(fake)
    return kubeconfig(
        fake, {"client-certificate-data": encoded(own.pem), "client-key-data": encoded(own.key_pem)}
    )


def with_certificate_files(fake: FakeApiServer, directory: Path) -> Object:
    """
    A client certificate, its key and the CA in files beside it.
    """
    own = client(fake)
    for name, data in (("own.pem", own.pem), ("own.key", own.key_pem), ("ca.pem", fake.authority.pem)):
        (directory / name).write_bytes(data)
    made = kubeconfig(fake, {"client-certificate": "own.pem", "client-key": "own.key"})
    made["clusters"][0]["cluster"] = {"server": fake.url, "certificate-authority": "ca.pem"}
    return made


def without_verification(fake: FakeApiServer, _: Path) -> Object:
    """
    Whoever the server is.
    """
    made = kubeconfig(fake, {"token": TOKEN})
    made["clusters"][0]["cluster"] = {"server": f"{fake.url}/", "insecure-skip-tls-verify": True}
    return made


def with_server_name(fake: FakeApiServer, _: Path) -> Object:
    """
    The server is known by another name than its address.
    """
    return kubeconfig(fake, {"token": TOKEN}, **{"tls-server-name": "kubernetes.example"})


@pytest.mark.parametrize(
    "make",
    [
        with_token_file,
        with_embedded_certificate,
        with_certificate_files,
        without_verification,
        with_server_name,
    ],
)
def test_a_kubeconfig_says_how(tmp_path: Path, make: Make) -> None:
    """
    Tokens, client certificates and authorities, embedded and in files beside it.
    """
    assert look(tmp_path, make) == (WEB, "")


def test_the_context_stands_in_the_url(tmp_path: Path) -> None:
    """
    With slashes, as some clouds name them, and an '@', which is `%40` there.
    """
    for context, written in (
        ("arn:aws:eks:x:1:cluster/one", "arn:aws:eks:x:1:cluster/one"),
        ("admin@fake", "admin%40fake"),
    ):

        def make(fake: FakeApiServer, _: Path, context: str = context) -> Object:
            made = kubeconfig(fake, {"token": TOKEN})
            made["contexts"].append({"name": context, "context": {"cluster": "fake", "user": "exporter"}})
            made["current-context"] = "another"
            return made

        assert look(tmp_path, make, f"{written}/prod/web") == (WEB, "")


def test_a_setting_goes_before_the_environment(tmp_path: Path) -> None:
    """
    `kubernetes.kubeconfig` of the target.
    """

    def make(fake: FakeApiServer, directory: Path) -> Object:
        own = kubeconfig(fake, {"token": TOKEN})
        (directory / "own").write_text(json.dumps(own), encoding="utf-8")
        return {"kind": "Config"}

    assert look(tmp_path, make, kubeconfig=tmp_path / "own") == (WEB, "")


async def test_several_kubeconfigs_are_one(tmp_path: Path) -> None:
    """
    As with kubectl: the first that has an entry counts, and one that is missing does not matter.
    """
    async with api_server() as fake:
        fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        whole = kubeconfig(fake, {"token": TOKEN})
        paths = [tmp_path / "missing", tmp_path / "contexts", tmp_path / "rest"]
        paths[1].write_text(json.dumps({"contexts": whole.pop("contexts")}), encoding="utf-8")
        paths[2].write_text(json.dumps(whole), encoding="utf-8")
        environ = {"KUBECONFIG": ":".join(map(str, paths))}
        async with seen_by(fake, environ, tmp_path / "none") as here:
            assert told(await here.look(of("prod/web"))) == WEB


def changed(**user: Any) -> Make:
    """
    A kubeconfig with this user.
    """
    return lambda fake, _: kubeconfig(fake, user)


def with_cluster(settings: Mapping[str, Any]) -> Make:
    """
    A kubeconfig whose cluster has these settings too.
    """
    return lambda fake, _: kubeconfig(fake, {"token": TOKEN}, **settings)


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (lambda *_: "{", "format_broken", "line 2: is not valid YAML"),
        (lambda *_: "[]", "format_broken", "not a kubeconfig"),
        (lambda *_: "{}", "format_broken", "no current-context"),
        (lambda *_: "current-context: there", "format_broken", "'there'"),
        (changed(**{"auth-provider": {"name": "gcp"}}), "access_denied", "`auth-provider`"),
        (changed(token="two words"), "format_broken", "not a token"),
        (changed(token="wrong"), "access_denied", "401"),
        (changed(), "access_denied", "401"),
        (changed(tokenFile="missing"), "file_not_found", "missing"),
        (changed(**{"client-certificate-data": "%"}), "format_broken", "not base64"),
        (changed(**{"client-certificate-data": "AAAA"}), "client_certificate_unusable", "client certificate"),
        (with_cluster({"certificate-authority-data": "AAAA"}), "format_broken", "CA certificates"),
        (with_cluster({"certificate-authority-data": ""}), "http_failed", "not trusted"),
        (with_cluster({"server": "http://127.0.0.1:1"}), "format_broken", "https://"),
        (with_cluster({"server": "https://127.0.0.1:1"}), "connection_refused", "127.0.0.1"),
        (with_cluster({"server": "https://no.invalid"}), "dns_", "no.invalid"),
        (with_cluster({"tls-server-name": "other.example"}), "http_failed", "not trusted"),
        (with_cluster({"proxy-url": "http://127.0.0.1:1"}), "proxy_failed", "proxy"),
    ],
)
def test_what_does_not_work_says_why(tmp_path: Path, make: Make, reason: str, words: str) -> None:
    """
    The target fails with a reason, and a sentence without a secret.
    """
    found, sentence = look(tmp_path, make)
    assert list(found) == ["prod/web"]
    assert found["prod/web"].startswith(reason)  # without a name server, no name is known not to exist
    assert words in sentence
    assert TOKEN not in sentence


async def test_without_any_cluster_it_is_told_what_to_set(tmp_path: Path) -> None:
    """
    No kubeconfig, and no pod.
    """
    async with api_server() as fake, seen_by(fake, {"HOME": str(tmp_path)}, tmp_path) as here:
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": "file_not_found"}
        assert "KUBECONFIG" in detail(row)
        (tmp_path / ".kube").mkdir()
        made = json.dumps(kubeconfig(fake, {"token": TOKEN}))
        (tmp_path / ".kube" / "config").write_text(made, encoding="utf-8")
        fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        await here.until(of("prod/web"), lambda rows: rows == WEB)


async def test_a_pod_uses_its_service_account_and_reads_its_token_again(tmp_path: Path) -> None:
    """
    The kubelet writes a new token now and then; the old one is soon no longer taken.
    """
    async with in_pod(tmp_path) as here:
        assert told(await here.look(of("prod/web"))) == WEB
        await eventually(lambda: here.fake.watching == 1)
        here.fake.tokens = {"a-new-token"}
        (tmp_path / "token").write_text("a-new-token", encoding="ascii")
        here.fake.cut()
        await eventually(lambda: here.fake.count("watch") >= 2 and here.fake.watching == 1)
        assert here.fake.count("list") == 1
        # The server sees the watch a moment before it is seen here that the server took it.
        await eventually(lambda: here.kubernetes.views[0].age == 0)


async def test_a_new_authority_is_taken_up(tmp_path: Path) -> None:
    """
    The CA file is read again too.
    """
    async with in_pod(tmp_path) as here:
        right = (tmp_path / "ca.crt").read_bytes()
        certificate = here.fake.authority.certificate
        wrong = new_root(
            "Other CA", not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc
        )
        (tmp_path / "ca.crt").write_bytes(wrong.pem)
        await here.until(of("prod/web"), lambda rows: rows == {"prod/web": "http_failed"})
        (tmp_path / "ca.crt").write_bytes(right)
        await here.until(of("prod/web"), lambda rows: rows == WEB)


async def test_a_client_certificate_that_rotates_is_taken_up(tmp_path: Path) -> None:
    """
    The files that a kubeconfig names are read again.
    """
    async with api_server() as fake:
        fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        made = with_certificate_files(fake, tmp_path)
        (tmp_path / "own.key").write_bytes(client(fake).key_pem)
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(made), encoding="utf-8")
        async with seen_by(fake, {"KUBECONFIG": str(file)}, tmp_path) as here:
            unusable = {"prod/web": "client_certificate_unusable"}
            await here.until(of("prod/web"), lambda rows: rows == unusable)
            with_certificate_files(fake, tmp_path)
            await here.until(of("prod/web"), lambda rows: rows == WEB)


def test_neither_tokens_nor_keys_are_in_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Nor in what is told of a failure.
    """
    caplog.set_level(logging.DEBUG)
    hidden = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    for user in ({"token": hidden}, {"client-certificate-data": hidden}, {"client-key-data": hidden}):
        found, sentence = look(tmp_path, changed(**user))
        assert found != WEB
        assert hidden not in sentence
    _, sentence = look(tmp_path, lambda *_: f"users: [ {hidden} {{")
    assert hidden not in sentence + caplog.text


async def test_an_api_server_that_speaks_no_tls(tmp_path: Path) -> None:
    """
    A port on which something else listens.
    """

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 not TLS at all\r\n")
        writer.close()

    port = free_port()
    server = await asyncio.start_server(hello, "127.0.0.1", port)
    async with api_server() as fake, server:
        fake.port = port
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
        async with seen_by(fake, {"KUBECONFIG": str(file)}, tmp_path) as here:
            rows = await here.look(of("prod/web"))
            assert told(rows) == {"prod/web": "handshake_refused"}
