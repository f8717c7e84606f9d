"""What the owner may say about a package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_api.models import Flavor, Signature

Progress = Callable[[str, str], None]
"""Called as `progress(step, detail)` when a step begins or has something to say."""


def silent(step: str, detail: str) -> None:
    """A `Progress` that says nothing."""


@dataclass(frozen=True)
class BuildOptions:
    """How a package is built; every field has a default that suits a notebook.

    `signature`: its inputs instead of those read from the example. `requirements`: pip lines for what a model needs
    beyond what was found. `code_paths`: local folders or modules that the model imports. `files`: the folder that a
    plain class's `load` is given. `training`: rows with the example's columns that show missing values, categories and
    ranges, and serve the checks. `flavors`: what may be tried, in this order; one that is not for such a model is
    passed over. `tolerance`: greatest difference allowed between a conversion and the original, relative to the larger
    of 1 and the greatest absolute answer. `trial`: load the package in a fresh process before it is accepted;
    `trial_timeout` in seconds.
    """

    signature: Signature | None = None
    requirements: tuple[str, ...] | None = None
    code_paths: tuple[str | Path, ...] = ()
    files: str | Path | None = None
    training: Any = None
    flavors: tuple[Flavor, ...] = tuple(Flavor)
    tolerance: float = 1e-5
    trial: bool = True
    trial_timeout: float = 120.0
    progress: Progress = silent
