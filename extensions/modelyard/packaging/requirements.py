"""What a package needs at run time, as pip lines with the versions that are installed here."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

_DEPTH = 4


def installed(distribution: str) -> str | None:
    """The installed version, without the name of its build (torch's +cpu), which an index may not have; or None."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return None


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution, Python's first; what is not installed is left out."""
    found = {name: installed(name) for name in distributions}
    return {"python": sys.version.split()[0]} | {name: v for name, v in found.items() if v is not None}


def pinned(*distributions: str) -> list[str]:
    """`distributions` with the versions that are installed here; what is not installed is left out."""
    return [f"{name}=={v}" for name in sorted(distributions) if (v := installed(name)) is not None]


def infer(model: Any, *distributions: str) -> list[str]:
    """`distributions`, and those that the classes of `model` and of its parts come from, pinned."""
    names = set(distributions)
    foreign = {root for root in _roots(model, _DEPTH) if root not in _OWN}
    if foreign:
        known = packages_distributions()
        names |= {known[root][0] for root in foreign if root in known}
    return pinned(*names)


_OWN = {"sklearn", "numpy", "pandas", "scipy", "__main__", "modelyard"} | set(sys.stdlib_module_names)


def _roots(value: Any, depth: int) -> set[str]:
    """Top-level modules of the classes (or functions) that make up `value`."""
    module = getattr(value, "__module__", None) or type(value).__module__
    roots = {str(module).partition(".")[0]}
    if depth and hasattr(value, "get_params"):
        for part in value.get_params(deep=False).values():
            for item in _parts(part):
                roots |= _roots(item, depth - 1)
    return roots


def _parts(part: Any) -> list[Any]:
    if isinstance(part, (list, tuple)):
        return [item for nested in part for item in _parts(nested)]
    return [part] if hasattr(part, "get_params") or callable(part) else []
