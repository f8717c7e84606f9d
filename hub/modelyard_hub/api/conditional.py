"""Conditional requests and merge patches. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from modelyard_api.errors import PreconditionRequired, StaleWrite

IfMatch = Annotated[str | None, Header(description='The ETag that you read, such as "3".')]
IfNoneMatch = Annotated[str | None, Header(description="* creates, and refuses to overwrite.")]
_ANY = "*"


def entity_tag(generation: int) -> str:
    """The ETag of a desired state."""
    return f'"{generation}"'


def creates(if_match: str | None, if_none_match: str | None) -> bool:
    """Whether a PUT creates; PreconditionRequired when it says neither that nor what it replaces."""
    if if_none_match is not None and if_none_match.strip() == _ANY:
        return True
    if if_match is None:
        raise PreconditionRequired("a write needs If-Match, or If-None-Match: * to create")
    return False


def require_match(if_match: str | None, tag: str) -> None:
    """Check `If-Match` against the resource's ETag: PreconditionRequired without it, StaleWrite when it differs.

    What is kept in the store is checked once more, in the transaction that writes.
    """
    if if_match is None or not if_match.strip():
        raise PreconditionRequired("this change needs If-Match, so that it cannot overwrite somebody else's")
    if not {_ANY, tag} & {named.strip() for named in if_match.split(",")}:
        raise StaleWrite(f"If-Match names {if_match}, but the resource is at {tag}")


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
