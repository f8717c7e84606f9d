"""Conditional requests and merge patches. Pure."""

from __future__ import annotations

from typing import Any

from modelyard_api.errors import PreconditionRequired, StaleWrite

ANY = "*"


def entity_tag(generation: int) -> str:
    """The ETag of a desired state."""
    return f'"{generation}"'


def require_match(if_match: str | None, generation: int) -> None:
    """Check `If-Match` against the stored generation: PreconditionRequired without it, StaleWrite when it differs.

    The store checks the generation once more, in the transaction that writes.
    """
    if if_match is None or not if_match.strip():
        raise PreconditionRequired("this change needs If-Match, so that it cannot overwrite somebody else's")
    tags = {tag.strip() for tag in if_match.split(",")}
    if ANY not in tags and entity_tag(generation) not in tags:
        raise StaleWrite(f"If-Match names {if_match}, but the resource is at {entity_tag(generation)}")


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
