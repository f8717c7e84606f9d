"""One workload: as many replicas as wanted, of the template wanted, the new ones ready before the old ones leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from modelyard_hub.runtimes.base import ObservedServer, Phase, ReplicaLog
from modelyard_hub.runtimes.local.logs import tail
from modelyard_hub.runtimes.local.process import Identity, Process
from modelyard_hub.runtimes.local.state import ReplicaRecord, ServerRecord, WorkloadFolder
from modelyard_hub.runtimes.local.supervise import Supervisor, Surroundings


class Workload:
    """Replicas of one server. `changed` is called after each observable change, with the workload's name."""

    def __init__(
        self, folder: WorkloadFolder, record: ServerRecord, around: Surroundings, changed: Callable[[str], None]
    ) -> None:
        self.folder, self.record = folder, record
        self._around, self._changed = around, changed
        self._replicas: dict[int, Supervisor] = {}
        self._converging = False

    @property
    def empty(self) -> bool:
        """Whether no replica runs."""
        return not self._replicas

    def take_up(self, records: Sequence[ReplicaRecord], found: Mapping[str, Identity]) -> None:
        """Go on with the replicas of an earlier process; `found` are running processes by nonce."""
        self._converging = True  # not before all are known
        for record in records:
            identity = found.get(record.nonce) or record.identity
            process = None if identity is None else Process(identity)
            if process is not None and not process.alive():
                process.close()
                process = None
            if process is not None and identity is not None:
                record = record.of(identity)
            self._around.ports.reserve(record.port)
            self._add(record, process)
        self._converging = False
        self.converge()

    def become(self, record: ServerRecord) -> None:
        """Make this so, from now on."""
        self.record = record
        self.converge()

    def converge(self) -> None:
        """Start what is missing, send away what is too much."""
        if self._converging:
            return
        self._converging = True
        try:
            self._replicas = {i: s for i, s in self._replicas.items() if not s.gone}
            staying = [s for s in self._replicas.values() if not s.leaving]
            template = self.record.server.template_digest()
            wanted = 0 if self.record.deleting else self.record.server.replicas
            current = sorted((s for s in staying if s.record.template == template), key=_worth)
            for surplus in current[wanted:]:
                self._leave(surplus)
            current = current[:wanted]
            while len(current) < wanted:
                index = next(i for i in range(len(self._replicas) + 1) if i not in self._replicas)
                current.append(self._add(ReplicaRecord(index, template), None))
            all_ready = all(s.observed.phase is Phase.ready for s in current)
            for old in (s for s in staying if s.record.template != template):
                if all_ready or old.observed.phase is not Phase.ready:
                    self._leave(old)
        finally:
            self._converging = False

    def observe(self) -> ObservedServer:
        """What runs now."""
        server = self.record.server
        replicas = tuple(self._replicas[i].observed for i in sorted(self._replicas) if not self._replicas[i].gone)
        return ObservedServer(server.name, server.digest(), replicas, server.labels)

    def logs(self, lines: int) -> tuple[ReplicaLog, ...]:
        """The last lines of each replica, from its files."""
        return tuple(ReplicaLog(i, tail(self.folder.log(i), lines)) for i in sorted(self._replicas))

    async def close(self) -> None:
        """Stop watching and leave the processes running."""
        await asyncio.gather(*(s.close() for s in self._replicas.values()))

    def _leave(self, replica: Supervisor) -> None:
        # A whole workload is deleted only after the router has let go of it; a part of one is not waited for.
        replica.leave(0.0 if self.record.deleting else self._around.options.timing.leave_router)

    def _add(self, record: ReplicaRecord, process: Process | None) -> Supervisor:
        replica = Supervisor(self.folder, self.record.server, record, self._around, self._replica_changed, process)
        self._replicas[record.index] = replica
        return replica

    def _replica_changed(self) -> None:
        self.converge()
        self._changed(self.record.server.name)


def _worth(replica: Supervisor) -> tuple[bool, int]:
    """Order in which replicas are kept: ready ones, then the oldest."""
    return replica.observed.phase is not Phase.ready, replica.record.index
