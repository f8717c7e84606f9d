"""Which volumes a server starts with: its owner's claims in, its own out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_api.errors import Conflict
from modelyard_api.names import owner_name
from modelyard_api.volumes import SharedVolume, home_of, is_home
from modelyard_hub.volumes.claims import HOME_PATH, NONE, OWNER, SERVER, USER, Object, is_trashed, name_of, path_of


@dataclass(frozen=True)
class Whose:
    """A server: its owner, its name (empty: the default one), and when its user's account was made."""

    owner: str
    server: str
    user: str

    @property
    def home(self) -> str:
        """Name of its home volume."""
        return home_of(owner_name(self.server) if self.server else "")


def home(claims: Iterable[Object], whose: Whose, remembered: str = "") -> Object | None:
    """The claim that this server has as its home; None: it gets a new one.

    `remembered`: the claim's name of the last start, which a user who was renamed keeps. A claim that belongs to an
    earlier account of the same name is nobody's to take: Conflict.
    """
    live = [c for c in claims if not is_trashed(c)]
    if remembered:
        kept = next((c for c in live if c["metadata"]["name"] == remembered), None)
        if kept is not None and user_of(kept) in ("", whose.user):
            return kept
    mine = [
        c for c in live if name_of(c) == whose.home and (c["metadata"].get("labels") or {}).get(OWNER) == whose.owner
    ]
    own = [c for c in mine if user_of(c) == whose.user] or [c for c in mine if not user_of(c)]
    if own:
        return min(own, key=lambda c: (c["metadata"].get("creationTimestamp") or "", c["metadata"]["name"]))
    if mine:
        raise Conflict(
            f"the volume {mine[0]['metadata']['name']} belongs to an earlier account named {whose.owner!r}",
            remedy="An administrator decides: put it into the trash (a new one is made then), or let this account "
            f"have it by taking its annotation {USER} away.",
        )
    return None


def user_of(claim: Object) -> str:
    """When the account was made that a home belongs to; empty where nobody has said so yet."""
    return str((claim["metadata"].get("annotations") or {}).get(USER) or "")


def further(claims: Iterable[Object], whose: Whose) -> list[Object]:
    """The claims of the owner's other volumes that this server has, by name of the volume; of two with one name the
    older."""
    found: dict[str, Object] = {}
    for claim in sorted(claims, key=lambda c: c["metadata"].get("creationTimestamp") or ""):
        name = name_of(claim)
        server = (claim["metadata"].get("annotations") or {}).get(SERVER, NONE)
        if name and not is_home(name) and not is_trashed(claim) and server == whose.server:
            found.setdefault(name, claim)
    return [found[name] for name in sorted(found)]


def mounts_of(claims: Sequence[Object], shared: Iterable[SharedVolume]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(volume, mount) of a pod for each of these, below the home."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for position, claim in enumerate(claims):
        name, path = f"volume-{position}", path_of(str(name_of(claim)))
        source: dict[str, Any] = {"claimName": claim["metadata"]["name"]}
        found.append(({"name": name, "persistentVolumeClaim": source}, {"name": name, "mountPath": path}))
    for one in shared:
        # Of the volume too: nobody sets the owner of files that are only read.
        only: dict[str, Any] = {} if one.writable else {"readOnly": True}
        name = f"shared-{one.name}"[:63].rstrip("-")
        mount = {"name": name, "mountPath": f"{HOME_PATH}/shared/{one.name}", **only}
        if one.folder:
            mount["subPath"] = one.folder
        found.append(({"name": name, "persistentVolumeClaim": {"claimName": one.claim, **only}}, mount))
    return found


def seen(shared: Iterable[SharedVolume], groups: Iterable[str]) -> tuple[SharedVolume, ...]:
    """The shared volumes of a member of these groups."""
    mine = set(groups)
    return tuple(one for one in shared if one.claim and (not one.groups or not mine.isdisjoint(one.groups)))
