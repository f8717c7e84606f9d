"""Which kernels a run can have, where that is known before it starts: on one machine, in our own environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from modelyard_api.errors import InvalidInput
from modelyard_api.runs import RunSpec

_ASK = """
import json
from jupyter_client.kernelspec import KernelSpecManager
print(json.dumps(sorted(KernelSpecManager().find_kernel_specs())))
"""
_PATIENCE, _FRESH = 30.0, 5.0
_ELSEWHERE = ("JUPYTER_", "HOME", "XDG_", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables by which a run finds other kernels than we do."""


class Kernels(Protocol):
    """Who knows kernels."""

    async def check(self, spec: RunSpec) -> None:
        """InvalidInput where the run's notebook needs one that there is not."""


class UnknownKernels:
    """Of an image that this process is not in: the run says it when it starts."""

    async def check(self, spec: RunSpec) -> None:
        """Nothing can be said."""


class LocalKernels:
    """Of this environment, asked in a process of its own: what lists them is not for a service to import."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._asked = -_FRESH
        self._asking = asyncio.Lock()

    async def check(self, spec: RunSpec) -> None:
        """One that was not there a moment ago is looked for again. Where nobody can say, the run does."""
        wanted = spec.notebook.kernel if spec.notebook is not None else ""
        if not wanted or wanted in self._known or _is_elsewhere(spec.environment):
            return
        async with self._asking:
            if wanted not in self._known and time.monotonic() - self._asked >= _FRESH:
                self._known = await _kernels()
                self._asked = time.monotonic()
        if self._known and wanted not in self._known:
            raise InvalidInput(
                f"spec.notebook.kernel: there is no kernel {wanted!r} where the notebook would run",
                remedy=f"There are {', '.join(sorted(self._known))}. Choose one in JupyterLab and save the notebook.",
            )


async def _kernels() -> frozenset[str]:
    """None where it cannot be asked: there may be no Jupyter beside us."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MODELYARD_", "AWS_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _ASK,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
        return frozenset(map(str, json.loads(said)))
    except (TimeoutError, ValueError):
        return frozenset()
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def _is_elsewhere(variables: Iterable[str]) -> bool:
    return any(name.startswith(_ELSEWHERE) for name in variables)
