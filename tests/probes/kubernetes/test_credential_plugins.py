"""
Credential plugins of a kubeconfig: real programs that are run, what they are told, and how they fail.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.probes.kubernetes.exec_plugins import OUTPUT_LIMIT, WORDS_LIMIT, Plugin, plugin, run, words_of
from tests.formats.samples import leaf
from tests.probes.kubernetes.api_server import TOKEN, FakeApiServer, api_server, kubeconfig, secret
from tests.probes.kubernetes.looking import World, eventually, of, seen_by
from tests.probes.kubernetes.test_access import client
from tests.support.certificates import NOW
from tests.support.rows import detail, told

# The exporter itself starts the plugins.
pytestmark = pytest.mark.programs

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
WEB = {"prod/web:tls.crt": "seen"}
OTHER = "another-token-of-the-same-user"


def answer(version: str = V1, **status: Any) -> str:
    """
    What a plugin prints.
    """
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status})


def program(path: Path, script: str) -> Path:
    """
    A shell script that may be run.
    """
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def prints(directory: Path, text: str) -> Path:
    """
    A plugin `plugin` that adds a line to `runs`, and prints what is in `credential`: this.
    """
    (directory / "credential").write_text(text, encoding="utf-8")
    return program(directory / "plugin", f"echo run >> {directory}/runs\ncat {directory}/credential")


def runs(directory: Path) -> int:
    """
    How often that plugin was run.
    """
    path = directory / "runs"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def executing(command: Path | str, **more: Any) -> dict[str, Any]:
    """
    A user who has a plugin.
    """
    asked = {"apiVersion": V1, "command": str(command), "interactiveMode": "Never", **more}
    return {"exec": {key: value for key, value in asked.items() if value is not None}}


def in_cluster(
    directory: Path,
    user: Callable[[FakeApiServer], dict[str, Any]],
    work: Callable[[World], Awaitable[None]],
    clock: Callable[[], float] = lambda: NOW,
    cluster: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """
    Do this in a cluster that holds `prod/web`, known by a kubeconfig with this user.
    """

    async def whole() -> None:
        async with api_server() as fake:
            fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
            file = directory / "kubeconfig"
            file.write_text(json.dumps(kubeconfig(fake, user(fake), **cluster)), encoding="utf-8")
            async with seen_by(fake, {"KUBECONFIG": str(file)}, directory / "none", clock=clock) as here:
                await work(here)

    asyncio.run(whole())


def test_a_plugin_gives_the_token(tmp_path: Path) -> None:
    """
    It is run once, whatever is asked for with it.
    """
    made = prints(tmp_path, answer(token=TOKEN))

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        assert told(await here.look(of("prod/*", "secrets", "configmaps"))) == WEB
        assert len(here.kubernetes.views) == 4
        assert runs(tmp_path) == 1

    in_cluster(tmp_path, lambda _: executing(made), work)


def test_a_plugin_gives_a_certificate_in_the_older_version(tmp_path: Path) -> None:
    """
    v1beta1 needs no interactiveMode. The command is relative to the kubeconfig.
    """

    def user(fake: FakeApiServer) -> dict[str, Any]:
        own = client(fake)
        shown = {"clientCertificateData": own.pem.decode(), "clientKeyData": own.key_pem.decode()}
        prints(tmp_path, answer(V1BETA1, **shown))
        return executing("./plugin", apiVersion=V1BETA1, interactiveMode=None)

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB

    in_cluster(tmp_path, user, work, clock=time.time)


def test_a_plugin_is_told_of_the_cluster_if_it_wants_that(tmp_path: Path) -> None:
    """
    And has its arguments as they are written, its variables, and no terminal to ask at.
    """
    script = (
        f'printf "%s\\n" "$KUBERNETES_EXEC_INFO" "$1" "$2" "$COLOUR" "$KUBECONFIG" > {tmp_path}/told\n'
        f"cat >> {tmp_path}/told\n"
        f"echo '{answer(token=TOKEN)}'"
    )
    made = program(tmp_path / "plugin", script)
    arguments = ["two words; $HOME", "--name=*"]
    user = executing(made, args=arguments, env=[{"name": "COLOUR", "value": "blue"}], provideClusterInfo=True)
    extensions = [
        {"name": "another", "extension": {}},
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a", "number": 7}},
    ]

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        info, *rest = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
        assert rest == [*arguments, "blue", str(tmp_path / "kubeconfig")]
        document = json.loads(info)
        assert (document["kind"], document["apiVersion"]) == ("ExecCredential", V1)
        cluster = document["spec"]["cluster"]
        assert document["spec"]["interactive"] is False
        assert cluster["server"] == here.fake.url
        assert cluster["tls-server-name"] == "kubernetes.example"
        assert cluster["config"] == {"audience": "a", "number": 7}
        assert set(cluster) == {"server", "tls-server-name", "certificate-authority-data", "config"}

    cluster = {"tls-server-name": "kubernetes.example", "extensions": extensions}
    in_cluster(tmp_path, lambda _: user, work, cluster=cluster)


def test_without_that_it_is_told_nothing_of_the_cluster(tmp_path: Path) -> None:
    """
    As kubectl does.
    """
    made = program(
        tmp_path / "plugin", f"echo \"$KUBERNETES_EXEC_INFO\" > {tmp_path}/told\necho '{answer(token=TOKEN)}'"
    )

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        assert json.loads((tmp_path / "told").read_text(encoding="utf-8"))["spec"] == {"interactive": False}

    in_cluster(tmp_path, lambda _: executing(made), work)


def test_a_credential_is_used_until_it_ends(tmp_path: Path) -> None:
    """
    Then the plugin is run again, and its new token shown.
    """
    now = [NOW]
    ends = datetime.fromtimestamp(NOW + 900, UTC).isoformat().replace("+00:00", "Z")
    made = prints(tmp_path, answer(token=TOKEN, expirationTimestamp=ends))

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        now[0] += 899
        here.fake.cut()
        await eventually(lambda: here.fake.count("watch") == 2)
        assert runs(tmp_path) == 1
        (tmp_path / "credential").write_text(answer(token=OTHER), encoding="utf-8")
        here.fake.tokens = {OTHER}
        now[0] += 1
        here.fake.cut()
        await eventually(lambda: here.fake.count("watch") == 3 and here.fake.watching == 1)
        assert runs(tmp_path) == 2

    in_cluster(tmp_path, lambda _: executing(made), work, clock=lambda: now[0])


def test_a_certificate_ends_when_it_ends(tmp_path: Path) -> None:
    """
    Where the plugin does not say when.
    """
    now = [NOW]

    def user(fake: FakeApiServer) -> dict[str, Any]:
        own = client(fake)
        now[0] = own.certificate.not_valid_after_utc.timestamp() - 1
        shown = {"clientCertificateData": own.pem.decode(), "clientKeyData": own.key_pem.decode()}
        return executing(prints(tmp_path, answer(**shown)))

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        await eventually(lambda: here.fake.watching == 1)
        now[0] += 1
        here.fake.cut()
        await eventually(lambda: runs(tmp_path) == 2)

    in_cluster(tmp_path, user, work, clock=lambda: now[0])


def test_a_credential_that_is_refused_is_asked_for_anew(tmp_path: Path) -> None:
    """
    After a 401 the plugin is run again, though what it gave has not ended.
    """
    made = prints(tmp_path, answer(token=TOKEN))

    async def work(here: World) -> None:
        here.fake.tokens = {OTHER}
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": "access_denied"}
        assert "401" in detail(row)
        (tmp_path / "credential").write_text(answer(token=OTHER), encoding="utf-8")
        await here.until(of("prod/web"), lambda rows: rows == WEB)

    in_cluster(tmp_path, lambda _: executing(made), work)


def test_what_stands_in_the_kubeconfig_goes_before_a_plugin(tmp_path: Path) -> None:
    """
    A token there is shown, and no program is run.
    """
    made = prints(tmp_path, answer(token="wrong"))

    async def work(here: World) -> None:
        assert told(await here.look(of("prod/web"))) == WEB
        assert runs(tmp_path) == 0

    in_cluster(tmp_path, lambda _: {**executing(made), "token": TOKEN}, work)


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (
            "echo 'no session: log in first' >&2; exit 3",
            "access_denied",
            "status 3: no session: log in first",
        ),
        ("exit 1", "access_denied", "status 1, and said nothing"),
        ("kill -9 $$", "access_denied", "signal 9"),
        ("echo hello", "format_broken", "no ExecCredential"),
        ("echo '[]'", "format_broken", "no ExecCredential"),
        ("echo '{}'", "format_broken", "no ExecCredential"),
        (f"echo '{answer(V1BETA1, token=TOKEN)}'", "format_broken", "another version"),
        (f"echo '{answer()}'", "format_broken", "neither a token nor a certificate"),
        (f"echo '{answer(token='two words')}'", "format_broken", "none that can be sent"),
        (f"echo '{answer(token=7)}'", "format_broken", "none that can be sent"),
        (f"echo '{answer(clientKeyData='x')}'", "format_broken", "half of a certificate"),
        (f"echo '{answer(clientKeyData=['x'], clientCertificateData='x')}'", "format_broken", "half of"),
        (
            f"echo '{answer(clientKeyData='x', clientCertificateData='x')}'",
            "client_certificate_unusable",
            "client certificate",
        ),
        (
            f"echo '{answer(token=TOKEN, expirationTimestamp='2027-01-15T08:00:00Z')}'",
            "access_denied",
            "has ended already",
        ),
        (
            f"echo '{answer(token=TOKEN, expirationTimestamp='soon')}'",
            "format_broken",
            "is no time of RFC 3339",
        ),
        (
            f"echo '{answer(token=TOKEN, expirationTimestamp='2027-01-15T08:00:00')}'",
            "format_broken",
            "is no time",
        ),
        (f"echo '{answer(token=TOKEN, expirationTimestamp=7)}'", "format_broken", "is no time"),
        ("cat /dev/zero", "format_broken", "more than"),
        (f"head -c {OUTPUT_LIMIT + 1} /dev/zero", "format_broken", "more than"),
    ],
)
def test_a_plugin_that_fails_says_why(tmp_path: Path, script: str, reason: str, words: str) -> None:
    """
    Its own words are told, within limits.
    """
    made = program(tmp_path / "plugin", script)

    async def work(here: World) -> None:
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": reason}
        assert words in detail(row)
        assert TOKEN not in detail(row)

    in_cluster(tmp_path, lambda _: executing(made), work)


@pytest.mark.parametrize(
    ("settings", "reason", "words"),
    [
        ({"command": "/none/such", "installHint": "get it\nthere"}, "file_not_found", "get it there"),
        ({"command": "no-such-program-of-anybody"}, "file_not_found", "is not there"),
        ({"command": "./kubeconfig"}, "file_not_found", "no program that may be run"),
        ({"command": ""}, "format_broken", "names no command"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "format_broken", "apiVersion"),
        ({"apiVersion": None}, "format_broken", "apiVersion"),
        ({"interactiveMode": None}, "format_broken", "interactiveMode"),
        ({"interactiveMode": "Sometimes"}, "format_broken", "interactiveMode"),
        ({"interactiveMode": "Always"}, "access_denied", "terminal"),
        ({"args": "--all"}, "format_broken", "args"),
        ({"args": [["a"]]}, "format_broken", "args"),
        ({"env": {"A": "b"}}, "format_broken", "env"),
        ({"env": [{"name": "A=B", "value": "c"}]}, "format_broken", "env"),
        ({"env": ["A"]}, "format_broken", "env"),
    ],
)
def test_a_kubeconfig_that_describes_none_says_so(
    tmp_path: Path, settings: dict[str, Any], reason: str, words: str
) -> None:
    """
    Nothing is run.
    """
    made = prints(tmp_path, answer(token=TOKEN))

    async def work(here: World) -> None:
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": reason}
        assert words in detail(row)
        assert runs(tmp_path) == 0

    in_cluster(tmp_path, lambda _: executing(**{"command": made, **settings}), work)


def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    """
    It may be run, and can't.
    """
    made = tmp_path / "plugin"
    made.write_bytes(b"\x7fELF" + bytes(100))
    made.chmod(0o755)

    async def work(here: World) -> None:
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": "file_unreadable"}
        assert "can't be run" in detail(row)

    in_cluster(tmp_path, lambda _: executing(made), work)


def of_script(directory: Path, script: str, **more: Any) -> Plugin:
    """
    The plugin that this script is.
    """
    command = program(directory / "plugin", script)
    return plugin(executing(command, **more)["exec"], directory, None, "the user")


async def test_the_loop_goes_on_while_a_plugin_works(tmp_path: Path) -> None:
    """
    The plugin waits for what the test writes meanwhile.
    """
    script = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; cat {tmp_path}/go"
    asked = asyncio.create_task(run(of_script(tmp_path, script), {}))
    await eventually((tmp_path / "begun").exists)
    (tmp_path / "new").write_text(answer(token=TOKEN), encoding="utf-8")
    (tmp_path / "new").rename(tmp_path / "go")
    assert (await asked).token == TOKEN


def is_running(process: int) -> bool:
    """
    True when there is such a process that has not ended.
    """
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("script", ["wait", "exit 0"])
async def test_a_plugin_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, script: str
) -> None:
    """
    Also when only what it started is left, and holds what it prints to open.
    """
    with pytest.raises(ProbeError) as caught:
        await run(of_script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; {script}"), {}, 0.5)
    assert caught.value.reason is Reason.TIMEOUT
    assert "0.5 s" in caught.value.detail
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    await eventually(lambda: not is_running(child))


async def test_a_plugin_ends_with_those_who_wait_for_it(tmp_path: Path) -> None:
    """
    When the exporter ends, or nobody asks for the target any more.
    """
    made = of_script(tmp_path, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/process; sleep 600")
    asked = asyncio.create_task(run(made, {}))
    await eventually((tmp_path / "process").exists)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await eventually(lambda: not is_running(int((tmp_path / "process").read_text(encoding="ascii"))))


async def test_who_stops_waiting_at_any_moment_is_free(tmp_path: Path) -> None:
    """
    Also while the plugin is being started.
    """
    made = of_script(tmp_path, "sleep 600")
    for steps in range(12):
        asked = asyncio.create_task(run(made, {}))
        for _ in range(steps):
            await asyncio.sleep(0)
        asked.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await asked


async def test_much_on_standard_error_blocks_nobody(tmp_path: Path) -> None:
    """
    Its begin is told.
    """
    made = of_script(tmp_path, "echo begin >&2; head -c 3000000 /dev/zero >&2; exit 1")
    with pytest.raises(ProbeError, match="begin") as caught:
        await run(made, {})
    assert len(caught.value.detail) < 1000


def test_no_secret_of_a_plugin_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    What it was given, and what looks like a token, is not repeated, though the plugin says it.
    """
    caplog.set_level(logging.DEBUG)
    opaque = "k8s-aws-v1" + "aHR0cHM6Ly9zdHM5" * 4
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    script = f'echo "denied: $WHO $2 $3 {opaque} {jwt} /usr/lib/plugin" >&2; exit 1'
    user = executing(
        program(tmp_path / "plugin", script),
        args=["--client-secret", "hunter2", "--token=sesame"],
        env=[{"name": "WHO", "value": "open sesame"}],
    )

    async def work(here: World) -> None:
        (row,) = await here.look(of("prod/web"))
        assert "denied: [hidden] [hidden] --token=[hidden] [hidden].[hidden]" not in detail(row)
        assert "denied: [hidden] [hidden] --token=[hidden] [hidden] [hidden] /usr/lib/plugin" in detail(row)
        said = caplog.text + repr(row) + repr(here.kubernetes.views)
        for hidden in ("hunter2", "sesame", opaque, jwt, opaque[-30:], jwt[-12:]):
            assert hidden not in said

    in_cluster(tmp_path, lambda _: user, work)
    assert "can't watch Kubernetes" in caplog.text


def test_what_a_plugin_says_is_one_printable_line() -> None:
    """
    Whatever the bytes.
    """
    made = Plugin("a", (), (), V1, "")
    words = words_of(b"\x1b[31mred\x07\n\xff\xfe two\r\nthree\t\xe2\x80\xae", made, {})
    assert words.isprintable()
    assert words == r"\u001b[31mred\u0007 \xff\xfe two three \u202e"
    assert len(words_of(b"word " * 10_000, made, {})) < 500
    said = words_of(b"login failed: password=hunter2verysecret token: expired", made, {})
    assert said == "login failed: password=[hidden] token: expired"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: Bearer abc12", "Authorization: Bearer [hidden]"),
        ('{"Authorization": "Basic dTpw"}', '{"Authorization": "Basic [hidden]"}'),
        ("authorization=abc", "authorization=[hidden]"),
        ("login as root with passwd: letmein", "login as root with passwd: [hidden]"),
        ("DB_PWD=x and MYSQL_PWD: y", "DB_PWD=[hidden] and MYSQL_PWD: [hidden]"),
        ("api_key: abc123, apikey=abc", "api_key: [hidden], apikey=[hidden]"),
        ("cannot fetch token: 400 Bad Request", "cannot fetch token: 400 Bad Request"),
        ("token: expired", "token: expired"),
        ("secret: s3cr3t", "secret: [hidden]"),
        ("no such file: /var/run/token", "no such file: /var/run/token"),
        (f"id {'a' * 40}", f"id {'a' * 40}"),
        (f"id {'a' * 40}1", "id [hidden]"),
    ],
)
def test_what_is_called_a_secret_is_not_repeated(said: str, shown: str) -> None:
    """
    Headers, settings and fields of JSON, whatever the length of the value. Words about a secret stay.
    """
    assert words_of(said.encode(), Plugin("a", (), (), V1, ""), {}) == shown


@pytest.mark.parametrize(
    ("arguments", "said", "shown"),
    [
        (["login", "S3cretPass"], "no user s3cretpass here", "no user [hidden] here"),
        (["-u", "me:tok3nvalue99x"], "me:TOK3NVALUE99X is wrong", "me:[hidden] is wrong"),
        (["--passwd", "abcd"], "abcd is wrong", "[hidden] is wrong"),
        (["--pwd=abcd"], "abcd is wrong", "[hidden] is wrong"),
        (["--header=Authorization: Basic dTpwYXNzd29yZDE="], "sent dTpwYXNzd29yZDE=", "sent [hidden]="),
        (["--cluster", "prod-eu-1"], "no cluster prod-eu-1", "no cluster prod-eu-1"),
        (
            ["--server", "https://a1.example/Path123x"],
            "https://a1.example/Path123x",
            "https://a1.example/Path123x",
        ),
        (["--account", "123456789012"], "no account 123456789012", "no account 123456789012"),
    ],
)
def test_arguments_that_look_like_secrets_are_not_repeated(
    arguments: list[str], said: str, shown: str
) -> None:
    """
    Whatever they follow; names of clusters, URLs and numbers of accounts are told.
    """
    assert words_of(said.encode(), Plugin("a", tuple(arguments), (), V1, ""), {}) == shown


def test_settings_of_the_environment_are_told() -> None:
    """
    Directories, and values that are too short to be a secret by their name alone.
    """
    environ = {
        "PWD": "/srv/expiry",
        "SSH_ASKPASS_REQUIRE": "prefer",
        "API_TOKEN": "opensesame",
        "PGPASSWD": "12345678",
    }
    said = b"in /srv/expiry: prefer opensesame 12345678"
    assert words_of(said, Plugin("a", (), (), V1, ""), environ) == "in /srv/expiry: prefer [hidden] [hidden]"


@pytest.mark.parametrize(
    "unit", [b"a", b"a=", b"secret", b"token_", b"eyJ", b"password  ", b"authorization: "]
)
def test_no_words_take_long(unit: bytes) -> None:
    """
    Eight kilobytes take milliseconds: no pattern goes over them once for each of their characters.
    """
    said, made = unit * (WORDS_LIMIT // len(unit)), Plugin("a", (), (), V1, "")
    begin = time.process_time()
    for _ in range(5):
        words_of(said, made, {})
    assert time.process_time() - begin < 2
