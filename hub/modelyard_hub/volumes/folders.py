"""Volumes on one machine: a folder each, and a document beside it. What JupyterHub's process and the hub service share.

<home>/users/<owner>            a home, as long as it is one
<home>/volumes/<id>/data        any other volume, and a home in the trash
<home>/volumes/<id>/volume.json what it is (`Card`)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from modelyard_api.bounds import Strict
from modelyard_api.volumes import HOME, SharedVolume, Trashed, VolumeSpec
from modelyard_hub.embedded.home import write_private


class Card(Strict):
    """What a volume is; `trashed` None: it is in use."""

    id: str
    owner: str
    name: str
    made_at: datetime
    spec: VolumeSpec = VolumeSpec()
    trashed: Trashed | None = None


class Folders:
    """The folders of a state folder."""

    def __init__(self, home: Path) -> None:
        self.users, self.volumes = home / "users", home / "volumes"

    def cards(self) -> list[Card]:
        """Of all volumes, homes among them."""
        found = [self._read(path) for path in sorted(self.volumes.glob("*/volume.json"))]
        homes = (self.home(path.name) for path in sorted(self.users.glob("*")) if path.is_dir())
        return [card for card in (*homes, *found) if card is not None]

    def home(self, owner: str) -> Card | None:
        """Of an owner's home; None where there is none."""
        folder = self.users / owner
        try:
            found = folder.stat()
        except OSError:
            return None
        # Its number on the disk tells it from the one of that name before it.
        made = datetime.fromtimestamp(found.st_ctime, UTC)
        return Card(id=f"home-{owner}-{found.st_ino:x}", owner=owner, name=HOME, made_at=made)

    def data(self, card: Card) -> Path:
        """Where its files are."""
        if card.name == HOME and card.trashed is None and not (self.volumes / card.id / "data").exists():
            return self.users / card.owner
        return self.volumes / card.id / "data"

    def make(self, card: Card) -> None:
        """A new one."""
        (self.volumes / card.id / "data").mkdir(parents=True, mode=0o700)
        self.write(card)

    def write(self, card: Card) -> None:
        """Its document, at once or not at all."""
        write_private(self.volumes / card.id / "volume.json", card.model_dump_json(indent=1))

    def trash(self, card: Card, note: Trashed) -> Card:
        """Into the trash; a home's folder moves there."""
        source = self.data(card)
        moved = card.model_copy(update={"trashed": note})
        place = self.volumes / card.id
        if source.parent != place:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The document first: a folder without one would be nobody's.
            self.write(moved)
            os.rename(source, place / "data")
        else:
            self.write(moved)
        return moved

    def remove(self, card: Card) -> None:
        """For ever; its document last, so that a removal that is cut off goes on."""
        place = self.volumes / card.id
        if (place / "data").exists():
            _remove(place / "data")
        (place / "volume.json").unlink(missing_ok=True)
        place.rmdir()

    def trash_all(self, owner: str, days: int) -> None:
        """What a deleted user had."""
        now = datetime.now(UTC)
        for card in self.cards():
            if card.owner == owner and not (card.trashed and card.trashed.gone):
                note = card.trashed or Trashed(at=now, until=now + timedelta(days=days), by="deleted with its user")
                self.trash(card, note.model_copy(update={"gone": True}))

    def link(self, owner: str, groups: Iterable[str], shared: Iterable[SharedVolume]) -> None:
        """Have a home show its owner's further volumes below `volumes`, those of its groups below `shared`: as links,
        anew, nothing else is touched."""
        mine, shared = set(groups), tuple(shared)
        ours = (str(self.volumes), *(s.path for s in shared if s.path))
        wanted = {
            "volumes": {c.name: self.data(c) for c in self.cards() if c.owner == owner and self._shown(c)},
            "shared": {
                s.name: Path(s.path) / s.folder
                for s in shared
                if s.path and (not s.groups or not mine.isdisjoint(s.groups))
            },
        }
        for kind, links in wanted.items():
            folder = self.users / owner / kind
            for old in folder.glob("*") if folder.is_dir() else ():
                if old.is_symlink() and (os.readlink(old).startswith(ours) or not old.exists()):
                    old.unlink()
            for name, target in links.items():
                with suppress(FileExistsError, NotADirectoryError):  # a file of the user's own stays
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / name).symlink_to(target)

    def _shown(self, card: Card) -> bool:
        return card.trashed is None and card.name != HOME and card.spec.attached and not card.spec.server

    def _read(self, path: Path) -> Card | None:
        try:
            card = Card.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None
        if not (path.parent / "data").exists() and card.name == HOME:
            return None  # on its way into the trash; the home is where it was
        return card


def _remove(folder: Path) -> None:
    """Also what is in folders that their owner has made read-only, such as those of Go's modules."""
    try:
        shutil.rmtree(folder)
    except PermissionError:
        folder.chmod(0o700)
        for above, names, _ in os.walk(folder):
            for path in (Path(above) / name for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder)
