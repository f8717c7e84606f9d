"""`Volume`: what `yard.volume` and `yard.volumes` return. The blocking face of `AsyncVolume`."""

from __future__ import annotations

from modelyard.disks import AsyncVolume, Usage
from modelyard.loop import run
from modelyard_api.quantities import show_bytes
from modelyard_api.volumes import Snapshot, VolumeStatus


class Volume:
    """A disk that outlives notebook servers."""

    def __init__(self, remote: AsyncVolume) -> None:
        self._remote = remote

    @property
    def remote(self) -> AsyncVolume:
        """The same for `async` code."""
        return self._remote

    @property
    def owner(self) -> str:
        """The user or group that it belongs to."""
        return self._remote.owner

    @property
    def name(self) -> str:
        """Its name."""
        return self._remote.name

    @property
    def status(self) -> VolumeStatus:
        """What is observed now: size, who has it, where."""
        return run(self._remote.read()).status

    @property
    def usage(self) -> Usage | None:
        """How full it is, where this notebook has it; None elsewhere."""
        return self._remote.usage()

    def grow(self, size: int | str, *, wait: float = 0.0) -> Volume:
        """Make it `size`, bytes or such as "20Gi", while it is used; it cannot shrink. `wait`: seconds until it is."""
        run(self._remote.grow(size, wait=wait))
        return self

    def attach(self, server: str = "") -> Volume:
        """Have that server have it from its next start on; empty: the default one."""
        run(self._remote.attach(server))
        return self

    def detach(self) -> Volume:
        """Have no server have it, from the next start on."""
        run(self._remote.detach())
        return self

    def plan(self, every_hours: int | None = 24, keep: int = 7) -> Volume:
        """Have a snapshot taken every so many hours, of which the latest `keep` are kept; None: no plan of its own."""
        run(self._remote.plan(every_hours, keep))
        return self

    def snapshot(self, *, wait: float = 120.0) -> Snapshot:
        """One of it as it is now; `wait`: seconds until it can be restored."""
        return run(self._remote.snapshot(wait=wait))

    def snapshots(self) -> list[Snapshot]:
        """Newest first."""
        return run(self._remote.snapshots())

    def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """For ever."""
        run(self._remote.delete_snapshot(snapshot))

    def restore(
        self,
        snapshot: Snapshot | str,
        volume: str,
        *,
        folder: str | None = None,
        into: str = "restored",
        wait: float = 600.0,
    ) -> Volume:
        """The files of a snapshot as a new volume of that name; with `folder`, that folder alone, put below `into` of
        the volume of that name, which nobody may have mounted."""
        return Volume(run(self._remote.restore(snapshot, volume, folder=folder, into=into, wait=wait)))

    def trash(self) -> None:
        """Into the trash, from which `yard.recover` brings it back."""
        run(self._remote.trash())

    def __repr__(self) -> str:
        last = self._remote.last
        size = last.status.size or last.spec.size
        parts = [f"{self.owner}/{self.name}", last.kind, show_bytes(size) if size else ""]
        used = self.usage.used if self.usage else last.status.used
        parts += [f"{show_bytes(used)} used" if used is not None else "", last.status.path]
        held = ", ".join(mount.pod for mount in last.status.mounted_by)
        return f"Volume({', '.join(p for p in (*parts, f'mounted by {held}' if held else '') if p)})"
