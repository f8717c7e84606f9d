"""Volumes whose owner has no account any more, which nobody but an administrator sees. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modelyard_api.names import owner_name
from modelyard_api.volumes import Volume


def left_over(volumes: Iterable[Volume], accounts: Collection[str]) -> list[Volume]:
    """Those in use, which is to say not in the trash, of owners that are none of these accounts' names."""
    owners = {owner_name(account) for account in accounts}
    return [v for v in volumes if v.kind != "shared" and v.status.trashed is None and v.owner not in owners]
