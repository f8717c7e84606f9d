"""Where an object differs from what it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_KEYS = ("uid", "name", "containerPort", "port", "topologyKey")
"""By these the API knows the members of a list apart, in this order."""


def drift(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the fields that `manifest` names and that are missing or other in `live`, such as
    `spec.template.spec.containers[server].image`. Fields that only `live` has belong to others or are defaults."""
    # The members of a list do not say their own kind.
    said = {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind")}
    return tuple(_mapping("", said, live))


def _mapping(path: str, wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        below = f"{path}.{key}" if path else str(key)
        if key in live:
            yield from _value(below, value, live[key])
        elif value not in ({}, []):
            yield below


def _value(path: str, wanted: Any, live: Any) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        yield from _mapping(path, wanted, live)
    elif _associative(wanted) and _associative(live):
        yield from _members(path, wanted, live)
    elif wanted != live:
        yield path


def _members(path: str, wanted: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not wanted:
        return
    key = next((k for k in _KEYS if all(k in member for member in wanted)), None)
    if key is None:
        if len(live) != len(wanted):
            yield path
        else:
            for number, (one, other) in enumerate(zip(wanted, live, strict=True)):
                yield from _mapping(f"{path}[{number}]", one, other)
        return
    found = {member.get(key): member for member in live}
    for member in wanted:
        below = f"{path}[{member[key]}]"
        if member[key] in found:
            yield from _mapping(below, member, found[member[key]])
        else:
            yield below


def _associative(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(member, Mapping) for member in value)
