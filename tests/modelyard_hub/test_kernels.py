"""A kernel that does not exist is known before a run starts, where it can be known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.runs import spec
from modelyard_api.errors import InvalidInput
from modelyard_api.runs import NotebookWork, RunSpec
from modelyard_hub import kernels
from modelyard_hub.kernels import LocalKernels, UnknownKernels


def needs(kernel: str, **members: Any) -> RunSpec:
    work = NotebookWork(path="train.ipynb", snapshot="0" * 64, kernel=kernel)
    return spec().model_copy(update={"notebook": work, **members})


async def test_what_there_is_passes_and_what_there_is_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_FRESH", 0.0)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    known = LocalKernels()
    await known.check(needs("python3"))
    await known.check(needs(""))
    with pytest.raises(InvalidInput, match=r"there is no kernel 'julia-9' .*There are .*python3"):
        await known.check(needs("julia-9"))
    await known.check(needs("julia-9", environment={"JUPYTER_PATH": "/elsewhere"}))
    await UnknownKernels().check(needs("julia-9"))
    folder = tmp_path / "kernels" / "julia-9"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["julia"], "display_name": "Julia", "language": "julia"}))
    await known.check(needs("julia-9"))


async def test_where_nobody_can_say_the_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_ASK", "import no_such_module")
    await LocalKernels().check(needs("julia-9"))
