"""A small API server of a cluster that misbehaves on purpose: real HTTP, real watches, its objects in memory.

It knows apply (a deep merge, with managed fields of `spec.replicas`), merge patches and delete with their
preconditions, create, list, watch with bookmarks, and logs. Nothing runs in it: a test puts pods there by hand.
`faults` are answered first, each once.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

Fault = Callable[[web.Request], Any]


def refuse(status: int, message: str, *, headers: dict[str, str] | None = None, **details: Any) -> Fault:
    """A fault: answers this status document."""

    async def answer(request: web.Request) -> web.Response:
        document = {"kind": "Status", "code": status, "message": message, "details": details}
        return web.json_response(document, status=status, headers=headers)

    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    """A fault: begins to answer, and is gone in the middle of a line."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"type": "ADDED", "obj')
    assert request.transport is not None
    request.transport.abort()
    return response


async def expired_event(request: web.Request) -> web.StreamResponse:
    """A fault: a watch that says 410 in its stream."""
    response = web.StreamResponse()
    await response.prepare(request)
    status = {"kind": "Status", "code": 410, "message": "too old resource version"}
    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    await response.write_eof()
    return response


@dataclass
class FakeCluster:
    """`objects` by (plural, name); `requests` as 'METHOD plural' with WATCH for watches; `faults` by the
    same; `verbs` as the rules of access call them, `denied` likewise; `absent`: kinds that it does not know."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    verbs: set[tuple[str, str]] = field(default_factory=set)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    logs: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    version: int = 100
    oldest: int = 0
    url: str = ""
    _history: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _watches: set[asyncio.Transport] = field(default_factory=set)

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": "secret"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    async def put(self, plural: str, found: dict[str, Any]) -> dict[str, Any]:
        """Somebody else writes an object as it is."""
        name = found["metadata"]["name"]
        existed = (plural, name) in self.objects
        self.version += 1
        meta = {"uid": uuid.uuid4().hex, **found["metadata"], "resourceVersion": str(self.version)}
        self.objects[plural, name] = made = {**found, "metadata": meta}
        await self._happened("MODIFIED" if existed else "ADDED", plural, made)
        return made

    async def change(self, plural: str, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Somebody changes an object by hand."""
        found = copy.deepcopy(self.objects[plural, name])
        change(found)
        await self.put(plural, found)

    async def remove(self, plural: str, name: str) -> None:
        """An object is gone."""
        self.version += 1
        last = copy.deepcopy(self.objects.pop((plural, name)))
        last["metadata"]["resourceVersion"] = str(self.version)
        await self._happened("DELETED", plural, last)

    def forget(self) -> None:
        """Everything before now is too old to watch from."""
        self.oldest = self.version + 1
        self.version += 1

    def cut(self) -> None:
        """End all watches, in the middle."""
        for transport in tuple(self._watches):
            transport.abort()

    def events(self) -> list[dict[str, Any]]:
        """Events that were written."""
        return [o for (plural, _), o in self.objects.items() if plural == "events"]

    async def _happened(self, kind: str, plural: str, found: dict[str, Any]) -> None:
        async with self._news:
            self._history.append((self.version, kind, plural, copy.deepcopy(found)))
            self._news.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        plural, name = request.match_info["plural"], request.match_info.get("name", "")
        watching = request.query.get("watch") == "true"
        what = f"{'WATCH' if watching else request.method} {plural}"
        self.requests.append(what)
        self.verbs.add((plural, _verb(request, watching=watching, named=bool(name))))
        if faults := self.faults.get(what):
            answer: web.StreamResponse = await faults.pop(0)(request)
            return answer
        if request.headers.get("Authorization") != "Bearer secret":
            return await self._refuse(request, 401, "Unauthorized")
        if plural in self.absent:
            return await self._refuse(request, 404, "the server could not find the requested resource")
        if watching:
            return await self._watch(request, plural)
        match request.method:
            case "GET" if not name:
                found = [o for (kind, _), o in self.objects.items() if kind == plural and _matches(o, request)]
                # As the real one: the members of a list do not say their own kind.
                items = [{k: v for k, v in o.items() if k not in ("apiVersion", "kind")} for o in found]
                return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
            case "GET" if (plural, name) in self.objects:
                return web.json_response(self.objects[plural, name])
            case "PATCH":
                return await self._patch(request, plural, name)
            case "POST":
                return await self._create(request, plural)
            case "DELETE" if (plural, name) in self.objects:
                return await self._delete(request, plural, name)
        return await self._refuse(request, 404, f'{plural} "{name}" not found')

    async def log(self, request: web.Request) -> web.StreamResponse:
        self.verbs.add(("pods/log", "get"))
        query = request.query
        text = self.logs.get((request.match_info["name"], query["container"], query["previous"] == "true"))
        if text is None:
            return await self._refuse(request, 400, "container is waiting to start")
        return web.Response(text="".join(text.splitlines(keepends=True)[-int(query["tailLines"]) :]))

    async def review(self, request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]["resourceAttributes"]
        name = "/".join(part for part in (asked["resource"], asked["subresource"]) if part)
        return web.json_response({"status": {"allowed": (name, asked["verb"]) not in self.denied}}, status=201)

    async def _create(self, request: web.Request, plural: str) -> web.StreamResponse:
        body = await request.json()
        name = body["metadata"]["name"]
        if (plural, name) in self.objects:
            return await self._refuse(request, 409, f'{plural} "{name}" already exists')
        body["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response(await self.put(plural, body), status=201)

    async def _patch(self, request: web.Request, plural: str, name: str) -> web.StreamResponse:
        body, known = await request.json(), self.objects.get((plural, name))
        asked = {key: value for key, value in body["metadata"].items() if key in ("uid", "resourceVersion")}
        if known is not None and not asked.items() <= known["metadata"].items():
            return await self._refuse(request, 409, "the object has been modified; please apply your changes to it")
        if request.content_type == "application/apply-patch+yaml":
            replicas = "replicas" in body.get("spec", {})
            entry = {"manager": request.query["fieldManager"], "operation": "Apply"}
            fields = {"fieldsV1": {"f:spec": {"f:replicas": {}} if replicas else {}}}
            body["metadata"] = {**body["metadata"], "managedFields": [{**entry, **fields}]}
        made = _merged(known or {}, body)
        if made != known:
            made = await self.put(plural, made)
        return web.json_response(made)

    async def _delete(self, request: web.Request, plural: str, name: str) -> web.StreamResponse:
        body, known = await request.json(), self.objects[plural, name]
        if not body["preconditions"].items() <= known["metadata"].items():
            return await self._refuse(request, 409, "the UID or resourceVersion in the precondition does not match")
        if body["propagationPolicy"] == "Foreground":
            await self.change(plural, name, lambda o: o["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
            return web.json_response(self.objects[plural, name])
        await self.remove(plural, name)
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        if seen < self.oldest:
            return await self._refuse(request, 410, "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.transport is not None
        self._watches.add(request.transport)
        told = 0
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                while True:
                    news, told = self._history[told:], len(self._history)
                    for version, kind, changed, found in news:
                        if version > seen and changed == plural and _matches(found, request):
                            line = {"type": kind, "object": found}
                            await response.write(json.dumps(line).encode() + b"\n")
                    async with self._news:
                        if told == len(self._history):
                            await self._news.wait()
        except TimeoutError:
            bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}}
            await response.write(json.dumps(bookmark).encode() + b"\n")
        finally:
            self._watches.discard(request.transport)
        await response.write_eof()
        return response

    @staticmethod
    async def _refuse(request: web.Request, status: int, message: str) -> web.Response:
        return await refuse(status, message)(request)  # type: ignore[no-any-return]


@asynccontextmanager
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    """A cluster that answers until the end of the block."""
    cluster = FakeCluster()
    app = web.Application()
    for root in ("/api/{version}", "/apis/{group}/{version}"):
        base = root + "/namespaces/{namespace}/{plural}"
        app.router.add_get(base + "/{name}/log", cluster.log)
        app.router.add_route("*", base + "/{name}", cluster.handle)
        app.router.add_route("*", base, cluster.handle)
    app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", cluster.review)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    cluster.url = f"http://127.0.0.1:{port}"
    try:
        yield cluster
    finally:
        await runner.cleanup()


def _verb(request: web.Request, *, watching: bool, named: bool) -> str:
    """As a cluster's rules call what was asked."""
    reading = "watch" if watching else "get" if named else "list"
    return {"GET": reading, "PATCH": "patch", "POST": "create", "DELETE": "delete"}[request.method]


def _matches(found: dict[str, Any], request: web.Request) -> bool:
    labels = found["metadata"].get("labels") or {}
    text = request.query.get("labelSelector", "")
    among = re.findall(r"([^,]+) in \(([^)]*)\)", text)
    single = [pair.partition("=") for pair in re.sub(r"[^,]+ in \([^)]*\)", "", text).split(",") if pair]
    chosen = all(labels.get(key) == value if equal else key in labels for key, equal, value in single)
    return chosen and all(labels.get(key) in values.split(",") for key, values in among)


def _merged(known: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    made = dict(known)
    for key, value in wanted.items():
        old = known.get(key)
        if value is None:
            made.pop(key, None)
            continue
        made[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return made
