"""Keeps a workload's objects as its record says: makes what is missing, puts back what was changed by hand."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard_api.errors import ClusterForbidden, Conflict, ModelyardError, NotFound, QuotaExceeded, Unavailable
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.changes import Feed
from modelyard_hub.runtimes.kubernetes.client import Client
from modelyard_hub.runtimes.kubernetes.drift import drift
from modelyard_hub.runtimes.kubernetes.kinds import AUTOSCALER, DEPLOYMENT, POD, SECRET, Kind, Object
from modelyard_hub.runtimes.kubernetes.labels import FILES
from modelyard_hub.runtimes.kubernetes.manifests import objects, scales
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.record import files_digest, read
from modelyard_hub.runtimes.kubernetes.replicas import deleting, failed, is_ready
from modelyard_hub.runtimes.kubernetes.task_keeper import TaskKeeper
from modelyard_hub.runtimes.kubernetes.task_record import TASK_TYPE, read_task
from modelyard_hub.runtimes.kubernetes.view import View

log = logging.getLogger(__name__)
_NAMED_FIELDS = 10


@dataclass(frozen=True)
class Correction:
    """What was written: an object that was missing, or changed in these fields."""

    kind: Kind
    how: str
    fields: tuple[str, ...]


class Keeper:
    """`touch` says that a workload is to be looked at; `run` looks. One that keeps differing is left alone for longer
    each time: somebody else may insist."""

    def __init__(self, client: Client, options: KubernetesOptions) -> None:
        self._client, self._options = client, options
        self.tasks = TaskKeeper(client, options)
        self._touched = Feed()
        self._locks: dict[str, asyncio.Lock] = {}
        self._again: dict[str, int] = {}
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._backoff = Backoff(first=0.5, cap=60.0)

    def touch(self, name: str) -> None:
        """Look at that workload soon."""
        if name not in self._resting:
            self._touched.add(name)

    def lock(self, name: str) -> asyncio.Lock:
        """Held by whoever changes a workload."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def run(self, view: View) -> None:
        """Until cancelled."""
        async for name in self._touched:
            try:
                async with self.lock(name):
                    corrected = await self._keep(view, name)
            except ModelyardError as error:
                log.warning("keeping %s: %s", name, error)
                corrected = True
            except Exception:
                log.exception("keeping %s", name)
                corrected = True
            if corrected:
                self._rest(name)
            else:
                self._again.pop(name, None)

    def close(self) -> None:
        """Look at nothing more."""
        self._touched.close()
        for handle in self._resting.values():
            handle.cancel()

    async def converge(self, view: View, server: Server, record: Object) -> list[Correction]:
        """Make the objects of a workload as they should be; what was written.

        Raises ModelyardError, which the view says too until it is over."""
        try:
            corrected = await self._write(view, server, record)
        except Unavailable as error:
            # A cluster that is away is said of all workloads alike; the next look is soon.
            if isinstance(error, (QuotaExceeded, ClusterForbidden)):
                view.refused(server.name, error)
            raise
        except ModelyardError as error:
            view.refused(server.name, error)
            raise
        view.refused(server.name, None)
        return corrected

    async def _write(self, view: View, server: Server, record: Object) -> list[Correction]:
        name, corrected = server.name, []
        if not scales(server) and (scaler := view.of(AUTOSCALER).get(name)) is not None and not deleting(scaler):
            await self._delete(view, AUTOSCALER, scaler)
        for kind, manifest in objects(server, record, view.of(DEPLOYMENT).get(name), self._options):
            live = view.of(kind).get(manifest["metadata"]["name"])
            fields = ("everything",) if live is None else drift(manifest, live)
            if fields and not (live is not None and deleting(live)):
                view.put(kind, await self._client.apply(kind, manifest))
                corrected.append(Correction(kind, "missing" if live is None else "changed", fields))
        return corrected

    async def nudge(self, view: View, server: Server) -> None:
        """Make the kubelets bring changed files at once, which else they do within a minute or two: they look at a
        pod anew when the pod changes."""
        digest = files_digest(server.files)
        for pod in view.of(POD).of(server.name):
            if deleting(pod) or failed(pod):
                continue
            with suppress(NotFound, Conflict):
                await self._client.annotate(pod, {FILES: digest})

    async def _keep(self, view: View, name: str) -> bool:
        """Whether there was something to put right."""
        record = view.record(name)
        if record is not None and record["type"] == TASK_TYPE:
            task = read_task(record)
            return task is not None and not deleting(record) and await self.tasks.keep(view, task, record)
        server = None if record is None else read(record)
        if record is None or server is None or deleting(record):
            return False
        corrected = await self.converge(view, server, record)
        for one in corrected:
            text = f"{one.kind.name} was {one.how}, and was put back: {_listed(one.fields)}"
            log.warning("%s: %s", name, text)
            with suppress(ModelyardError):
                await self._client.create_event(_event(record, text))
        await self._clear(view, server)
        return bool(corrected)

    async def _clear(self, view: View, server: Server) -> None:
        """Remove pods that ended for good, once others stand in for them."""
        pods = view.of(POD).of(server.name)
        if sum(is_ready(p) for p in pods) < server.replicas:
            return
        for pod in pods:
            if failed(pod) and not deleting(pod):
                await self._delete(view, POD, pod)

    async def _delete(self, view: View, kind: Kind, live: Object) -> None:
        with suppress(NotFound, Conflict):
            answer = await self._client.delete(kind, live, foreground=False)
            if "uid" in (answer.get("metadata") or {}):
                view.put(kind, answer)

    def _rest(self, name: str) -> None:
        failures = self._again[name] = self._again.get(name, 0) + 1

        def look() -> None:
            self._resting.pop(name, None)
            self._touched.add(name)

        delay = self._backoff.delay(failures)
        self._resting[name] = asyncio.get_running_loop().call_later(delay, look)


def _event(record: Object, text: str) -> dict[str, Any]:
    meta = record["metadata"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.name,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "reason": "DriftCorrected",
        "message": text[:1000],
        "type": "Warning",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": "modelyard"},
        "reportingComponent": "modelyard",
    }


def _listed(fields: Sequence[str]) -> str:
    rest = len(fields) - _NAMED_FIELDS
    return ", ".join(fields[:_NAMED_FIELDS]) + (f" and {rest} more" if rest > 0 else "")
