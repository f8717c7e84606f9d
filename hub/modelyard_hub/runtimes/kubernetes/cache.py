"""The objects of one kind, as last seen. A later version is never replaced by an earlier one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from modelyard_hub.runtimes.kubernetes.kinds import Object
from modelyard_hub.runtimes.kubernetes.labels import INSTANCE

_REMEMBERED = 1000


class Cache:
    """Objects by name, `slim` of each. What our own calls answer is put here too, so that a watch that lags behind
    undoes nothing."""

    def __init__(self, slim: Callable[[Object], Object] = lambda found: found) -> None:
        self._slim = slim
        self._objects: dict[str, Object] = {}
        self._of: dict[str, dict[str, Object]] = {}
        self._listed = 0
        # An answer to one of our calls may come after the news that its object is gone.
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)

    def get(self, name: str) -> Object | None:
        """The object of that name, or None."""
        return self._objects.get(name)

    def of(self, workload: str) -> list[Object]:
        """The objects of a workload."""
        return list(self._of.get(workload, {}).values())

    def __iter__(self) -> Iterator[Object]:
        return iter(tuple(self._objects.values()))

    def put(self, found: Object) -> bool:
        """Take an object; whether it is news."""
        meta = found["metadata"]
        known = self._objects.get(meta["name"])
        if meta["uid"] in self._gone or (known is not None and version(known) >= version(found)):
            return False
        if known is not None:
            self._drop(known)
        kept = self._objects[meta["name"]] = self._slim(found)
        self._of.setdefault(instance(found), {})[meta["name"]] = kept
        return True

    def remove(self, last: Object) -> bool:
        """An object is gone, `last` its last state; whether that is news. Another one of its name stays."""
        meta = last["metadata"]
        self._gone.append(meta["uid"])
        known = self._objects.get(meta["name"])
        if known is None or known["metadata"]["uid"] != meta["uid"]:
            return False
        self._drop(known)
        return True

    def replace(self, found: Iterable[Object], listed: str) -> set[str]:
        """Take a whole list, of resource version `listed`; workloads that it has news of."""
        news: set[str] = set()
        if _number(listed) < self._listed:  # a cluster that was brought back from a backup counts from there
            news |= {instance(known) for known in self}
            self._objects.clear()
            self._of.clear()
        self._listed = _number(listed)
        names = set()
        for item in found:
            names.add(item["metadata"]["name"])
            if self.put(item):
                news.add(instance(item))
        for known in self:
            if known["metadata"]["name"] not in names and version(known) <= self._listed:
                self._drop(known)
                news.add(instance(known))
        return news

    def _drop(self, known: Object) -> None:
        name = known["metadata"]["name"]
        del self._objects[name]
        group = self._of[instance(known)]
        del group[name]
        if not group:
            del self._of[instance(known)]


def instance(found: Object) -> str:
    """The workload that an object belongs to."""
    labels: Mapping[str, Any] = found["metadata"].get("labels") or {}
    return str(labels.get(INSTANCE, ""))


def version(found: Object) -> int:
    """The resource version; of objects of one kind the later one is greater."""
    return _number(found["metadata"].get("resourceVersion", ""))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
