"""A sibling's process: started in a session of its own, ended with everything that it started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from modelyard_hub.embedded.home import write_private
from modelyard_hub.embedded.siblings import Sibling

NOTEBOOKS_OF = "MODELYARD_NOTEBOOKS_OF"
"""In the environment of notebook servers and of all that they start: the state folder that they belong to."""
_LOG_LIMIT = 20 * 1024 * 1024


def log_path(home: Path, name: str) -> Path:
    """Where a sibling writes."""
    return home / "logs" / f"{name}.log"


def log_tail(home: Path, name: str, lines: int = 8) -> list[str]:
    """The last lines that a sibling wrote."""
    with contextlib.suppress(OSError):
        return log_path(home, name).read_text(errors="replace").splitlines()[-lines:]
    return []


async def spawn(home: Path, sibling: Sibling, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start it with its log file appended to; a log over 20 MiB is set aside first."""
    path = log_path(home, sibling.name)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *sibling.command,
            env=_environment(environment) | dict(sibling.environment),
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    # Imports without byte code take twice as long at every start.
    kept = {k: v for k, v in inherited.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Programs of this environment come first: JupyterHub looks for notebook servers on the PATH.
    programs = os.pathsep.join((str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)))
    return kept | {"PATH": programs, "PYTHONUNBUFFERED": "1"}


def signal_group(pid: int, signum: int) -> None:
    """Signal the session that `pid` leads; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


async def end(process: asyncio.subprocess.Process, grace: float) -> None:
    """SIGTERM, and after `grace` seconds SIGKILL to all that is left of its session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
    signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def record(home: Path, running: Mapping[str, int]) -> None:
    """Note who runs, so that a later start finds them when this supervisor was killed."""
    known = {}
    for name, pid in running.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            known[name] = {"pid": pid, "started": psutil.Process(pid).create_time()}
    write_private(home / "processes.json", json.dumps(known, indent=2))


def recorded(home: Path) -> dict[str, psutil.Process]:
    """The recorded siblings that still run: same pid and same start time, so never a recycled pid."""
    alive: dict[str, psutil.Process] = {}
    try:
        known = json.loads((home / "processes.json").read_text())
    except (OSError, ValueError):
        return {}
    for name, entry in known.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry["pid"])
            if process.create_time() == entry["started"] and process.status() != psutil.STATUS_ZOMBIE:
                alive[name] = process
    return alive


def end_recorded(home: Path, grace: float = 10.0) -> list[str]:
    """End what a killed supervisor left running; names of what was ended. Model servers are not among them."""
    left = recorded(home)
    for process in left.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(list(left.values()), timeout=grace)
    for process in left.values():
        signal_group(process.pid, signal.SIGKILL)
    return list(left)


def end_notebooks(home: Path, grace: float = 5.0) -> int:
    """End what notebook servers left running where JupyterHub was killed and could not stop them; how many."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(NOTEBOOKS_OF) == str(home):
                process.terminate()
                left.append(process)
    _, stubborn = psutil.wait_procs(left, timeout=grace)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(left)
