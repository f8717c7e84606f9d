"""Which snapshots the clock asks for, and which it does not keep. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from modelyard_api.volumes import Snapshot, SnapshotPlan, Volume


def due(volume: Volume, snapshots: Iterable[Snapshot], usual: SnapshotPlan | None, now: datetime) -> bool:
    """Whether the clock asks for one now: of a volume that has a disk, by its own plan, or a home's usual one."""
    plan = plan_of(volume, usual)
    if plan is None or volume.status.trashed is not None or volume.status.size is None:
        return False
    latest = max((s.made_at for s in _planned(volume, snapshots)), default=None)
    return latest is None or now - latest >= timedelta(hours=plan.every_hours)


def too_many(volume: Volume, snapshots: Collection[Snapshot], usual: SnapshotPlan | None) -> list[Snapshot]:
    """Those of the clock's that its plan does not keep. Without a plan all stay: nobody said that they may go."""
    plan = plan_of(volume, usual)
    if plan is None or volume.status.trashed is not None:
        return []
    newest = sorted(_planned(volume, snapshots), key=lambda s: s.made_at, reverse=True)
    ready = [s for s in newest if s.ready]
    # One that never came to be is known by the next one: else they would pile up.
    return [*ready[plan.keep :], *(s for s in newest[1:] if not s.ready)]


def plan_of(volume: Volume, usual: SnapshotPlan | None) -> SnapshotPlan | None:
    """A volume's own plan; of homes, else the usual one."""
    return volume.spec.snapshots or (usual if volume.kind == "home" else None)


def _planned(volume: Volume, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    return [s for s in snapshots if s.planned and s.volume_id == volume.id]
