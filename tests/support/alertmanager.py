"""
A real Alertmanager with the shipped configuration, and loopback servers where its notifications arrive.
"""

import contextlib
import email
import email.policy
import json
import re
import socketserver
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import ProcessError, Running, answers, running, wait_until
from tests.support.readme import REPOSITORY

SHIPPED = REPOSITORY / "alerts" / "alertmanager.yml"
LOOPBACK = "127.0.0.1"
PATIENCE = 20.0
"""Seconds in which what a test waits for has to come true."""

GROUP_WAIT = "500ms"
"""Instead of the shipped ones: long enough for one request's alerts to gather on a busy machine."""
GROUP_INTERVAL = "300ms"

SWITCH = "https://deadmansswitch.example.com"
"""Where the shipped file sends heartbeats."""
SECRETS = "/etc/alertmanager/secrets/"
"""Where the shipped file expects its secrets."""

# Loopback requests must not go through a proxy of the environment.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Post:
    """
    One HTTP request that arrived.
    """

    path: str
    authorization: str
    """Empty when the request had none."""
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inbox:
    """
    All that arrived so far, in order.
    """

    http_port: int
    smtp_port: int
    posts: list[Post] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    @property
    def url(self) -> str:
        """
        Where HTTP notifications arrive, whatever the path.
        """
        return f"http://{LOOPBACK}:{self.http_port}"

    def slack(self, channel: str) -> list[Mapping[str, Any]]:
        """
        The attachments of the messages to a channel.
        """
        return [
            one.document["attachments"][0]
            for one in self.posts
            if one.path == "/slack" and one.document["channel"] == channel
        ]

    def pages(self, routing_key: str) -> list[Mapping[str, Any]]:
        """
        The PagerDuty events with a routing key.
        """
        return [
            one.document
            for one in self.posts
            if one.path == "/pagerduty" and one.document["routing_key"] == routing_key
        ]

    def webhooks(self, path: str) -> list[Post]:
        """
        The requests to a path.
        """
        return [one for one in self.posts if one.path == path]


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """
    An Alertmanager that is ready.
    """

    port: int
    process: Running

    @property
    def address(self) -> str:
        """
        `host:port` as in a configuration of Prometheus.
        """
        return f"{LOOPBACK}:{self.port}"

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """
        Send alerts as Prometheus does, all in one request. Raises HTTPError when one is refused.
        """
        request = urllib.request.Request(
            f"http://{self.address}/api/v2/alerts",
            json.dumps(list(alerts)).encode("utf-8"),
            {"Content-Type": "application/json"},
        )
        with _OPENER.open(request, timeout=PATIENCE) as answer:
            answer.read()

    def alerts(self) -> list[dict[str, Any]]:
        """
        The alerts that it holds, each with its state: `active`, or `suppressed` and by what.
        """
        with _OPENER.open(f"http://{self.address}/api/v2/alerts", timeout=PATIENCE) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextlib.contextmanager
def inbox() -> Iterator[Inbox]:
    """
    Loopback servers for HTTP and SMTP that take everything and keep it.
    """
    posts: list[Post] = []
    mails: list[EmailMessage] = []

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append(Post(self.path, self.headers.get("Authorization", ""), json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """
            Nothing: a test's output is for what went wrong.
            """

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # RFC 5321, as much of it as a client needs that neither encrypts nor authenticates.
            self.wfile.write(b"220 inbox\r\n")
            while line := self.rfile.readline():
                command = line.split()[0].upper() if line.split() else b""
                if command == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                if command == b"DATA":
                    self.wfile.write(b"354 go ahead\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    data = b"".join(one.removeprefix(b".") for one in lines)
                    parsed = email.message_from_bytes(data, policy=email.policy.default)
                    assert isinstance(parsed, EmailMessage)
                    mails.append(parsed)
                self.wfile.write(b"250 ok\r\n")

    with contextlib.ExitStack() as stack:
        web = stack.enter_context(ThreadingHTTPServer((LOOPBACK, 0), Web))
        mail = stack.enter_context(socketserver.ThreadingTCPServer((LOOPBACK, 0), Mail))
        for server in (web, mail):
            server.daemon_threads = True
            # Ended here, so its connections are at most as old as the test.
            server.block_on_close = False
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            stack.callback(server.shutdown)
        yield Inbox(web.server_address[1], mail.server_address[1], posts, mails)


def local_configuration(
    directory: Path, to: Inbox, edit: Callable[[dict[str, Any]], object] = lambda _: None
) -> Path:
    """
    A copy of the shipped configuration that delivers to the inbox, with its templates and made-up secrets.

    Changed are: where notifications go; `group_wait` and `group_interval`, so that a test need not wait for
    minutes; `repeat_interval` of the heartbeats, which a test sees; then what `edit` does to the document.
    Routes, groups, inhibitions, receivers, templates and the other repeat intervals are the shipped ones.
    """
    secrets = directory / "secrets"
    secrets.mkdir()
    text = SHIPPED.read_text(encoding="utf-8")
    for name in re.findall(rf"{SECRETS}(\S+)", text):
        secret = f"{to.url}/slack" if name == "slack-webhook-url" else f"secret of {name}"
        (secrets / name).write_text(secret, encoding="utf-8")
    document = yaml.safe_load(text.replace(SECRETS, f"{secrets}/").replace(SWITCH, to.url))
    document["templates"] = [str(SHIPPED.parent / one) for one in document["templates"]]
    general = document["global"]
    general["smtp_smarthost"] = f"{LOOPBACK}:{to.smtp_port}"
    general["smtp_require_tls"] = False
    del general["smtp_auth_username"], general["smtp_auth_password_file"]
    for receiver in document["receivers"]:
        for one in receiver.get("pagerduty_configs", ()):
            one["url"] = f"{to.url}/pagerduty"
    _hurry(document["route"])
    edit(document)
    file = directory / "alertmanager.yml"
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return file


def _hurry(route: dict[str, Any]) -> None:
    # Only where the file sets them: what it leaves out must be inherited here too.
    for key, value in (("group_wait", GROUP_WAIT), ("group_interval", GROUP_INTERVAL)):
        if key in route:
            route[key] = value
    if route.get("receiver", "").startswith("heartbeat-"):
        route["repeat_interval"] = GROUP_INTERVAL
    for child in route.get("routes", ()):
        _hurry(child)


@contextlib.contextmanager
def alertmanager(directory: Path, configuration: Path) -> Iterator[Alertmanager]:
    """
    An Alertmanager with this configuration and nothing stored, ready, listening on a free port.
    """
    command = [
        "prometheus-alertmanager",
        f"--config.file={configuration}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={LOOPBACK}:0",
        # Alone: no gossip port.
        "--cluster.listen-address=",
    ]
    with running(command) as process:
        found: list[str] = []

        def said() -> bool:
            if process.process.poll() is not None:
                raise ProcessError("it ended before it listened")
            found[:] = re.findall(r'msg="Listening on" address=\S+:(\d+)', process.output())
            return bool(found)

        wait_until(said, deadline=PATIENCE, what="Alertmanager listens")
        port = int(found[0])
        wait_until(
            answers(f"http://{LOOPBACK}:{port}/-/ready"), deadline=PATIENCE, what="Alertmanager is ready"
        )
        yield Alertmanager(port, process)
