"""Notebook servers as processes on this machine, each user's in a folder of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Bool, Integer, Unicode, default

from modelyard_api.errors import Conflict
from modelyard_api.names import owner_name
from modelyard_api.profiles import Profile
from modelyard_api.servers import ResizeOrder, ServerSize
from modelyard_hub.embedded.processes import NOTEBOOKS_OF
from modelyard_hub.profiles import offered
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.choosing.chooser import Chooser
from modelyard_hub.spawner.choosing.profiled import Profiled, threads
from modelyard_hub.spawner.common import LAB_ARGUMENTS, common, queued
from modelyard_hub.spawner.deleting import check_nothing_runs
from modelyard_hub.spawner.queueing.queued import Queued
from modelyard_hub.spawner.rooms.machine import WHOLE, Machine, cores, share, surroundings
from modelyard_hub.spawner.rooms.surroundings import Surroundings
from modelyard_hub.spawner.starts.causes.base import Diagnosis
from modelyard_hub.spawner.starts.phases import HISTORY, Clock, record
from modelyard_hub.spawner.starts.routes import announce, withdraw
from modelyard_hub.spawner.starts.telling import event
from modelyard_hub.spawner.warm import Forked, Warm
from modelyard_hub.volumes.folders import Folders

COMMAND = [sys.executable, "-m", "modelyard.singleuser"]
"""Not by name: the PATH of whoever typed `make up` does not hold this environment."""


STARTS = Diagnosis("start", "starting", "The server starts.", wrong=False)


class FolderSpawner(Profiled, Queued, SimpleLocalProcessSpawner):  # type: ignore[misc]  # JupyterHub is untyped
    """JupyterHub's spawner for users that are not users of this machine: a folder for each, named by their owner name.

    A user's name may hold what means something in a path.
    """

    users = Unicode(config=True, help="The folder of the users' folders.")
    trash_days = Integer(30, config=True, help="Days that folders are kept whose user was deleted.")
    warm = Bool(False, config=True, help="Whether servers are forked from a process that has imported what they need.")
    _warm: ClassVar[Warm | None] = None
    _forked: Forked | None = None
    _clock: Clock | None = None
    port: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.warm and self.user is not None:
            self._warm_process().prepare()  # somebody is here who may start a server

    async def start(self) -> Any:
        """See `LocalProcessSpawner.start`; measured. The route is made while the server starts: calls wait for it."""
        record("queue", self.waited)
        self._clock = Clock()
        self._forked = await self._fork()
        address = (self.ip, self.port) if self._forked else await super().start()
        self._clock.mark("running")
        record("start", self._clock.between("begun", "running") or 0.0)
        announce(self, f"http://{address[0]}:{address[1]}")
        return address

    async def has_size(self) -> ServerSize:
        """See `ResizedPods`: Conflict, here it does not change."""
        return await self.resize(ResizeOrder())

    async def resize(self, order: ResizeOrder) -> ServerSize:
        """See `ResizedPods`: Conflict."""
        raise Conflict(
            "the size of a server on one machine does not change while it runs",
            remedy="Choose it at the next start: stop the server, and start it with that size.",
        )

    async def delete_forever(self) -> None:
        """With a user, their folders go to the trash."""
        if not self.name:
            check_nothing_runs(self.user)
            folders = Folders(Path(self.users).parent)
            await asyncio.to_thread(folders.trash_all, owner_name(self.user.name), self.trash_days)

    async def _fork(self) -> Forked | None:
        """The server's process; None where it has to be started the plain way."""
        if not self.warm or self.cmd != COMMAND or self.shell_cmd or self.popen_kwargs:
            return None
        if self.port == 0:
            self.port = random_port()
        os.makedirs(self.home_dir, exist_ok=True)
        forked = await self._warm_process().fork(self.get_env(), self.get_args(), self.home_dir, self._cores())
        if forked is not None:
            self.proc, self.pid = None, forked.pid
        return forked

    async def stop(self, now: bool = False) -> None:
        """See `LocalProcessSpawner.stop`."""
        withdraw(self)
        await super().stop(now)

    async def poll(self) -> int | None:
        """See `LocalProcessSpawner.poll`: of a forked server its parent tells the end."""
        forked = self._forked
        if forked is not None and forked.status is not None:
            self._forked = None
            self.clear_state()
            status: int | None = forked.status
        else:
            status = await super().poll()
        if status is not None:
            withdraw(self)  # JupyterHub stops only what runs
        return status

    def _warm_process(self) -> Warm:
        """One for all spawners of this process."""
        if FolderSpawner._warm is None:
            environ = {**{name: os.environ[name] for name in self.env_keep if name in os.environ}, **self.environment}
            FolderSpawner._warm = Warm(environ)
        return FolderSpawner._warm

    def answering(self) -> None:
        """The server that was started answers now."""
        if self._clock is not None:
            record("ready", self._clock.since("running"))
            self._clock = None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Its place in the queue, then how long it usually takes, for the page that waits."""
        async for told in self.places():
            yield told
        yield {**await self.says(), "progress": 50}

    async def says(self) -> dict[str, Any]:
        """What the start waits for: see `telling.event`."""
        elapsed = self._clock.since("begun") if self._clock else 0.0
        return event(STARTS, elapsed, HISTORY.remaining("start", elapsed))

    @default("home_dir")  # type: ignore[untyped-decorator]
    def _owner_folder(self) -> str:
        return str(Path(self.users) / owner_name(self.user.name))

    def make_preexec_fn(self, name: str) -> Any:
        """As JupyterHub's, on the server's share of the cores; what it starts inherits that."""
        before = super().make_preexec_fn(name)
        mine = self._cores()

        def prepare() -> None:
            before()
            if mine:
                os.sched_setaffinity(0, mine)

        return prepare

    def _cores(self) -> list[int]:
        return share(cores(), self.sizes.cpu, owner_name(self.user.name)) if self.sizes else []

    def size_variables(self) -> dict[str, str]:
        """Libraries count the cores that a process may run on; threads are told where a system does not keep to that.
        A server that was not given GPUs sees none."""
        if self.sizes is None:
            return {}
        told = super().size_variables() | ({} if cores() else threads(self.sizes.cpu))
        seen = ",".join(str(number) for number in range(self.sizes.gpus))
        return told if self.sizes.profile == WHOLE else told | {"CUDA_VISIBLE_DEVICES": seen}


def configure_processes(c: Any, settings: Settings) -> None:
    """Fill JupyterHub's config object `c`."""
    source = settings.notebooks or Path(__file__).parents[3] / "notebooks"
    common(c, settings)
    c.JupyterHub.spawner_class = FolderSpawner
    c.FolderSpawner.users = str(settings.home / "users")
    c.FolderSpawner.trash_days = settings.volume_trash_days
    c.Spawner.cmd = COMMAND
    c.FolderSpawner.warm = settings.notebook_warm
    c.Spawner.ip = "127.0.0.1"
    c.Spawner.start_timeout = 60
    c.Spawner.environment = {
        "MODELYARD_URL": settings.base_url,
        NOTEBOOKS_OF: str(settings.home),
        "JUPYTER_CONFIG_PATH": str(lab_defaults(settings.home)),
    }
    if os.geteuid() == 0:  # in containers; the hub itself does not mind either
        c.Spawner.args = [*LAB_ARGUMENTS, "--allow-root"]

    folders = Folders(settings.home)

    def place_notebooks(spawner: Any) -> None:
        copy_missing(source, Path(spawner.home_dir) / "notebooks")
        spawner.notebook_dir = spawner.home_dir
        groups = [group.name for group in spawner.user.groups]
        folders.link(owner_name(spawner.user.name), groups, settings.shared_volumes)

    c.Spawner.pre_spawn_hook = place_notebooks
    Chooser(offered(settings), around).configure(c)
    queued(c, settings, starting=2 * (len(cores()) or os.cpu_count() or 1))


async def around(spawner: Any, profiles: tuple[Profile, ...]) -> Surroundings:
    """What is free now."""
    return surroundings(Machine.observe())


def copy_missing(source: Path, target: Path) -> None:
    """Copy a folder's files where there are none: what somebody edited stays as it is."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            place = target / relative
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def lab_defaults(home: Path) -> Path:
    """A folder of Jupyter configuration: defaults that each user may change, and that ask no other host for news."""
    folder = home / "jupyter"
    path = folder / "labconfig" / "default_setting_overrides.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    notification = {"fetchNews": "false", "checkForUpdates": False}
    path.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": notification}))
    return folder
