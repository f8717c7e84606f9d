"""All watched objects, and what they say of the workloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from modelyard_api.errors import ModelyardError
from modelyard_hub.runtimes.base import ObservedServer
from modelyard_hub.runtimes.kubernetes.cache import Cache, instance
from modelyard_hub.runtimes.kubernetes.client import Client
from modelyard_hub.runtimes.kubernetes.kinds import DEPLOYMENT, JOB, POD, SECRET, WATCHED, Kind, Object
from modelyard_hub.runtimes.kubernetes.labels import SELECTOR
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.record import TYPE, read
from modelyard_hub.runtimes.kubernetes.replicas import Seen, indexes, observed
from modelyard_hub.runtimes.kubernetes.task_record import TASK_TYPE, read_task
from modelyard_hub.runtimes.kubernetes.task_view import SeenTask, observed_task, the_pod
from modelyard_hub.runtimes.kubernetes.watch import Watcher
from modelyard_hub.runtimes.task import ObservedTask


class View:
    """Watches of all kinds. `touched` is called with each workload that an object changed of; `changed` with each whose
    observed state did."""

    def __init__(
        self, client: Client, options: KubernetesOptions, touched: Callable[[str], None], changed: Callable[[str], None]
    ) -> None:
        self._options, self._touched, self._tell = options, touched, changed
        self.watchers = {k: Watcher(client, k, SELECTOR, self._news, self._health) for k in WATCHED}
        self._indexes: dict[str, dict[str, int]] = {}
        self._observed: dict[str, ObservedServer | ObservedTask] = {}
        self._uids: dict[str, str] = {}
        self._refused: dict[str, ModelyardError] = {}
        self._missed: set[str] = set()
        self._marked: tuple[datetime, str, dict[str, ObservedServer | ObservedTask]] | None = None
        self._told_unseen = False
        self._soon: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Tell nothing more."""
        if self._soon is not None:
            self._soon.cancel()

    async def list(self) -> None:
        """Take all there is. Raises ModelyardError."""
        await asyncio.gather(*(w.list() for w in self.watchers.values()))

    def of(self, kind: Kind) -> Cache:
        """What was seen of a kind."""
        return self.watchers[kind].cache

    def record(self, name: str) -> Object | None:
        """The Secret of a workload, or None."""
        found = self.of(SECRET).get(name)
        return found if found is not None and found.get("type") in (TYPE, TASK_TYPE) else None

    def task(self, name: str) -> ObservedTask | None:
        """A task as seen last."""
        found = self._observed.get(name)
        return found if isinstance(found, ObservedTask) else None

    def pods_of(self, name: str) -> Sequence[Object]:
        """All pods of a workload."""
        return self.of(POD).of(name)

    def put(self, kind: Kind, answer: Object) -> None:
        """Take what the cluster answered to a call of ours."""
        if self.of(kind).put(answer):
            self._news(instance(answer))

    def refused(self, name: str, error: ModelyardError | None) -> None:
        """A workload's objects could not be written, or can be again: its record alone would say that all is well."""
        before = self._refused.get(name)
        if error is not None:
            self._refused[name] = error
        elif before is not None:
            del self._refused[name]
        if str(before) != str(error):
            self._news(name, touch=False)

    def missed(self, name: str) -> None:
        """A call for that workload came to nothing, for the cluster was away: tell when it is back."""
        self._missed.add(name)

    def pods(self, name: str) -> dict[int, Object]:
        """Pods of a workload by replica index, which a pod keeps as long as this process."""
        pods = self.of(POD).of(name)
        numbers = indexes(self._indexes.get(name, {}), pods)
        if numbers:
            self._indexes[name] = numbers
        else:
            self._indexes.pop(name, None)
        return {numbers[p["metadata"]["uid"]]: p for p in pods}

    def observe(self) -> dict[str, ObservedServer]:
        """All servers, as seen last; marked where that is not now."""
        return {name: o for name, o in self._as_seen().items() if isinstance(o, ObservedServer)}

    def observe_tasks(self) -> dict[str, ObservedTask]:
        """All tasks, likewise."""
        return {name: o for name, o in self._as_seen().items() if isinstance(o, ObservedTask)}

    def _as_seen(self) -> Mapping[str, ObservedServer | ObservedTask]:
        since = self.unseen_since()
        if since is None:
            return self._observed
        why = next((w.trouble.detail for w in self.watchers.values() if w.trouble is not None), "")
        if self._marked is None or self._marked[:2] != (since, why):
            marked = {n: replace(o, unseen_since=since, unseen_because=why) for n, o in self._observed.items()}
            self._marked = (since, why, marked)
        return self._marked[2]

    def away_since(self) -> datetime | None:
        """Since when what replicas are known by is not seen."""
        lost = [w.away_since for k in (SECRET, DEPLOYMENT, JOB, POD) if (w := self.watchers[k]).away_since is not None]
        return min(lost, default=None)

    def unseen_since(self) -> datetime | None:
        """The same, once it is more than a hiccup."""
        since = self.away_since()
        if since is None or (datetime.now(UTC) - since).total_seconds() < self._options.timing.silence:
            return None
        return since

    def _news(self, name: str, *, touch: bool = True) -> None:
        if not name:
            return
        before, now = self._observed.get(name), self._look(name)
        if now is None:
            self._observed.pop(name, None)
            self._uids.pop(name, None)
            self._indexes.pop(name, None)
            self._refused.pop(name, None)
        else:
            self._observed[name] = now
        if before != now:
            self._marked = None
            self._tell(name)
        if touch:
            self._touched(name)

    def _look(self, name: str) -> ObservedServer | ObservedTask | None:
        secret = self.record(name)
        if secret is None:
            return None
        trouble, uid = self._refused.get(name), secret["metadata"]["uid"]
        same = self._uids.get(name) == uid
        self._uids[name] = uid
        if secret["type"] == TASK_TYPE:
            before = self.task(name) if same else None
            job, pods = self.of(JOB).get(name), self.pods_of(name)
            return observed_task(SeenTask(secret, read_task(secret), job, the_pod(pods), trouble, before, pods))
        seen = Seen(secret, read(secret), self.of(DEPLOYMENT).get(name), self.pods(name), trouble)
        return observed(seen, self._options)

    def _health(self, found: bool) -> None:
        """Tell all once it is more than a hiccup, and when that is over; and, in any case, what was missed."""
        if not found:
            self._look_soon()
            return
        for watcher in self.watchers.values():
            watcher.hurry()
        if self.away_since() is not None:
            return
        if self._told_unseen:
            self._told_unseen = False
            self._tell_all()
        missed, self._missed = self._missed, set()
        for name in sorted(missed):
            self._tell(name)

    def _look_soon(self) -> None:
        if self._soon is None:
            delay = self._options.timing.silence + 0.1
            self._soon = asyncio.get_running_loop().call_later(delay, self._look_whether_unseen)

    def _look_whether_unseen(self) -> None:
        self._soon = None
        if self.unseen_since() is not None:
            if not self._told_unseen:
                self._told_unseen = True
                self._tell_all()
        elif self.away_since() is not None:  # it was back meanwhile
            self._look_soon()

    def _tell_all(self) -> None:
        for name in self._observed:
            self._tell(name)
