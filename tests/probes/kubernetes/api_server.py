"""
A fake of the Kubernetes API server: what it takes to list in pages and to watch, over TLS, and no more.

Nobody packages a real one. It says in each answer that it is a fake (`Server`), keeps objects in memory, and
does what a test tells it to: forbid, forget, hang, break, cut off.
"""

import asyncio
import base64
import contextlib
import fnmatch
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from exporter.demo.minter import Minted
from exporter.demo.minter import root as new_root
from tests.support.certificates import DAY

TOKEN = "fake-token-of-a-service-account"
"""What the server takes at first."""

NAMES = {
    "secrets": "/api/v1/secrets",
    "configmaps": "/api/v1/configmaps",
    "validatingwebhookconfigurations": (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    ),
    "mutatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "certificates": "/apis/cert-manager.io/v1/certificates",
    "services": "/api/v1/services",
    "ingresses": "/apis/networking.k8s.io/v1/ingresses",
    "gateways": "/apis/gateway.networking.k8s.io/v1/gateways",
    "httproutes": "/apis/gateway.networking.k8s.io/v1/httproutes",
    "grpcroutes": "/apis/gateway.networking.k8s.io/v1/grpcroutes",
    "tlsroutes": "/apis/gateway.networking.k8s.io/v1alpha2/tlsroutes",
    "routes": "/apis/route.openshift.io/v1/routes",
}
"""Path of all objects, by resource, unless a test says otherwise."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """
    One request.
    """

    verb: str
    resource: str
    namespace: str
    """Empty: all."""
    query: Mapping[str, str]
    at: float
    """When it came, by the clock that only goes on."""


@dataclass(slots=True)
class FakeApiServer:
    """
    A server that listens. What it holds and does may be changed at any time.
    """

    authority: Minted
    port: int = 0
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    """By resource, namespace and name."""
    paths: dict[str, str] = field(default_factory=lambda: dict(NAMES))
    """As NAMES."""
    asked: list[Asked] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    """Patterns of `VERB RESOURCE` that are answered with 403."""
    absent: set[str] = field(default_factory=set)
    """Resources that are answered with 404."""
    status: int = 200
    """Of every answer."""
    retry_after: str = ""
    """Header of the same name, with such a status; empty: none."""
    garbage: bytes | None = None
    """Sent in place of each list; None: the list."""
    echoes: bool = False
    """Every answer is a refusal that repeats the token, as it came and encoded."""
    endless: bool = False
    """No list has a last page, and each page is empty."""
    flood: bytes = b""
    """Sent to each watch without end, each time as a chunk; empty: what there is to tell."""
    drip: bytes = b""
    """Sent in place of each list, over and over, twenty times a second; empty: the list."""
    ignores_selectors: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Requests wait while it is not set."""
    _version: int = 1
    _oldest: int = 0
    """Watches from before this are gone."""
    _log: list[tuple[int, str, str, Object | bytes]] = field(default_factory=list)
    _watches: dict["asyncio.Task[Any]", asyncio.Event] = field(default_factory=dict)
    """Each with what tells it that there is news."""

    @property
    def url(self) -> str:
        """
        Where it is.
        """
        return f"https://127.0.0.1:{self.port}"

    def count(self, verb: str, resource: str = "*") -> int:
        """
        How many such requests there were. A list of several pages is several.
        """
        return sum(one.verb == verb and fnmatch.fnmatch(one.resource, resource) for one in self.asked)

    @property
    def watching(self) -> int:
        """
        Watches under way.
        """
        return len(self._watches)

    async def put(self, resource: str, obj: Object) -> None:
        """
        Create or change an object.
        """
        key = self._put(resource, obj)
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = obj
        await self._tell(kind, resource, obj)

    def fill(self, resource: str, *objects: Object) -> None:
        """
        Hold these without telling.
        """
        for obj in objects:
            self.objects[self._put(resource, obj)] = obj

    def _put(self, resource: str, obj: Object) -> tuple[str, str, str]:
        self._version += 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(self._version)
        return resource, metadata.get("namespace", ""), metadata["name"]

    async def delete(self, resource: str, namespace: str, name: str) -> None:
        """
        Remove an object.
        """
        obj = self.objects.pop((resource, namespace, name))
        self._put(resource, obj)
        await self._tell("DELETED", resource, obj)

    async def bookmark(self) -> None:
        """
        Tell watches the time, and nothing else.
        """
        self._version += 1
        for resource in self.paths:
            obj = {"metadata": {"resourceVersion": str(self._version)}}
            await self._tell("BOOKMARK", resource, obj)

    async def say(self, raw: bytes) -> None:
        """
        Send these bytes to every watch.
        """
        self._version += 1
        for resource in self.paths:
            self._log.append((self._version, "", resource, raw))
        self._wake()

    def forget(self) -> None:
        """
        Know no version but the newest: a watch from before is gone.
        """
        self._version += 1
        self._oldest = self._version

    def cut(self) -> None:
        """
        End all watches in the middle.
        """
        for task in list(self._watches):
            task.cancel()

    async def _tell(self, kind: str, resource: str, obj: Object) -> None:
        self._log.append((self._version, kind, resource, json.loads(json.dumps(obj))))
        self._wake()

    def _wake(self) -> None:
        for news in self._watches.values():
            news.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """
        A list, a watch, or which resources a version of a group has.
        """
        if request.path.startswith("/apis/") and request.path.count("/") == 3:
            return self._resources(request.path)
        resource, namespace = self._of(request.path)
        verb = "watch" if request.query.get("watch") else "list"
        self.asked.append(Asked(verb, resource, namespace, dict(request.query), time.monotonic()))
        await self.open.wait()
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        transport = request.transport
        shown = transport is not None and transport.get_extra_info("peercert")
        if self.echoes:
            sent = base64.b64encode(bearer.encode()).decode()
            return _status(
                403, f"denied:\r\n Authorization: Bearer {bearer} {sent} {bearer[:20]}\x1b[31m \u202e"
            )
        if not shown and bearer not in self.tokens:
            return _status(401, "Unauthorized")
        if any(fnmatch.fnmatch(f"{verb} {resource}", one) for one in self.forbidden):
            return _status(403, f'{resource} is forbidden: User "fake" cannot {verb} resource "{resource}"')
        if not resource or resource in self.absent:
            return _status(404, "the server could not find the requested resource")
        if self.status != 200:
            told = _status(self.status, "told to")
            if self.retry_after:
                told.headers["Retry-After"] = self.retry_after
            return told
        if verb == "watch" and self.flood:
            return await _repeated(request, self.flood, 0.0)
        if verb == "watch":
            return await self._watch(request, resource, namespace)
        if self.drip:
            return await _repeated(request, self.drip, 0.05)
        return self._list(request, resource, namespace)

    def _of(self, path: str) -> tuple[str, str]:
        *_, resource = path.split("/")
        namespace = ""
        if "/namespaces/" in path:
            namespace = path.partition("/namespaces/")[2].partition("/")[0]
            path = path.replace(f"/namespaces/{namespace}", "")
        return (resource, namespace) if self.paths.get(resource) == path else ("", "")

    def _resources(self, path: str) -> web.Response:
        """
        Which anybody may ask for, as with a real one.
        """
        self.asked.append(Asked("get", path, "", {}, time.monotonic()))
        below = (one for one in self.paths if one not in self.absent)
        names = [one for one in below if self.paths[one].rpartition("/")[0] == path]
        if not names:
            return _status(404, "404 page not found")
        return web.json_response({"kind": "APIResourceList", "resources": [{"name": one} for one in names]})

    def _list(self, request: web.Request, resource: str, namespace: str) -> web.Response:
        if self.garbage is not None:
            return web.Response(body=self.garbage, content_type="application/json")
        limit, start = int(request.query.get("limit", "0")), int(request.query.get("continue") or 0)
        found = [
            obj
            for (kind, space, _), obj in sorted(self.objects.items())
            if kind == resource and self._meant(obj, space, namespace, request.query)
        ]
        page = found[start : start + limit] if limit else found
        metadata = {"resourceVersion": str(self._version)}
        if self.endless:
            return web.json_response({"metadata": {**metadata, "continue": str(start + 1)}, "items": []})
        if start + len(page) < len(found):
            metadata["continue"] = str(start + len(page))
        return web.json_response({"kind": "List", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, resource: str, namespace: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        version = int(request.query["resourceVersion"])
        if version < self._oldest:
            status = {"kind": "Status", "code": 410, "message": "too old resource version"}
            await answer.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            return answer
        end = time.monotonic() + float(request.query["timeoutSeconds"])
        task = asyncio.current_task()
        assert task is not None
        news = self._watches[task] = asyncio.Event()
        try:
            while (left := end - time.monotonic()) > 0:
                # Before the log is read: what comes meanwhile is news again.
                news.clear()
                for number, kind, of, obj in list(self._log):
                    if number <= version or of != resource:
                        continue
                    version = number
                    if isinstance(obj, bytes):
                        await answer.write(obj)
                        continue
                    space = obj["metadata"].get("namespace", "")
                    if kind == "BOOKMARK" or self._meant(obj, space, namespace, request.query):
                        await answer.write(json.dumps({"type": kind, "object": obj}).encode() + b"\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await news.wait()
        except asyncio.CancelledError:
            # Not the end of the server, but of this watch: without the end of the answer.
            if request.transport is not None:
                request.transport.abort()
        finally:
            del self._watches[task]
        return answer

    def _meant(self, obj: Object, space: str, namespace: str, query: Mapping[str, str]) -> bool:
        if namespace and space != namespace:
            return False
        if self.ignores_selectors:
            return True
        fields = {"metadata.name": obj["metadata"]["name"], "type": obj.get("type", "")}
        labels = obj["metadata"].get("labels", {})
        wanted = [(fields, one) for one in query.get("fieldSelector", "").split(",") if one]
        wanted += [(labels, one) for one in query.get("labelSelector", "").split(",") if one]
        return all(have.get(one.partition("=")[0]) == one.partition("=")[2] for have, one in wanted)


async def _repeated(request: web.Request, data: bytes, interval: float) -> web.StreamResponse:
    """
    The same, until the client is gone.
    """
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await answer.write(data)
            await asyncio.sleep(interval)
    return answer


def _status(code: int, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code)


@contextlib.asynccontextmanager
async def api_server(port: int = 0) -> AsyncIterator[FakeApiServer]:
    """
    A server that holds nothing, on loopback.
    """
    now = time.time()
    authority = new_root("Fake Cluster CA", not_before=now - DAY, not_after=now + DAY)
    fake = FakeApiServer(authority)
    fake.open.set()
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.answer)

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "fake API server of a test"

    app.on_response_prepare.append(sign)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=_tls(authority))
        await site.start()
        assert site._server is not None
        fake.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # a loop's own server
        yield fake
    finally:
        fake.open.set()
        fake.cut()
        await runner.cleanup()


def _tls(authority: Minted) -> ssl.SSLContext:
    """
    Settings of the server. It takes a client certificate of the same CA, and none too.
    """
    server = authority.issue("127.0.0.1", ["127.0.0.1", "kubernetes.example"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(server.pem + server.key_pem)
        context.load_cert_chain(file.name)
    return context


def secret(namespace: str, name: str, type_: str = "kubernetes.io/tls", /, **data: bytes) -> Object:
    """
    A Secret. `tls_crt` is the key `tls.crt`.
    """
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"namespace": namespace, "name": name}, "type": type_, "data": encoded}


def kubeconfig(fake: FakeApiServer, user: Mapping[str, Any], **cluster: Any) -> Object:
    """
    A kubeconfig with one context, `fake`, and this user.
    """
    data = base64.b64encode(fake.authority.pem).decode()
    settings = {"server": fake.url, "certificate-authority-data": data, **cluster}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": settings}],
        "users": [{"name": "exporter", "user": dict(user)}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "exporter"}}],
    }
