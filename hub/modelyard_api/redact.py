"""Values of secrets, taken out of what a run leaves. Light: only the standard library.

Whatever a run prints by mistake is caught: a value as it is, as JSON, Python, URLs and base64 write it, and each longer
line of one that has several. Not what somebody takes apart on purpose, such as a value printed backwards: the code
of a run has the values, and its owner answers for it.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

HIDDEN = b"[secret]"
SHORTEST = 4
"""Characters of a value. A shorter one is in every second word of a log: nothing legible would be left."""
GIVEN = "MODELYARD_GIVEN_SECRETS"
"""Variable that says which secrets a command was given and where: `Given` as JSON."""
FILES = "MODELYARD_FILES"
"""Variable that says where a command's files are."""
_LINE = 12
"""Characters from which on a line of a value is hidden by itself."""


@dataclass(frozen=True)
class Given:
    """A secret that a command was given: in the variable `env`, or in `file` of its files, whose path `env` then is."""

    secret: str
    env: str | None = None
    file: str | None = None

    def value(self, environment: Mapping[str, str], files: str | os.PathLike[str] | None) -> str | None:
        """What it is; None where it is not there."""
        if self.file is None:
            return environment.get(self.env or "")
        try:
            return None if files is None else (Path(files) / self.file).read_text()
        except (OSError, ValueError):
            return None


def told(given: Iterable[Given]) -> str:
    """What the variable `GIVEN` holds."""
    return json.dumps([asdict(one) for one in given])


def given_in(environment: Mapping[str, str]) -> tuple[Given, ...]:
    """The opposite: what the environment says that its command was given. None where it says nothing legible."""
    try:
        return tuple(Given(**one) for one in json.loads(environment.get(GIVEN, "[]")))
    except (ValueError, TypeError):
        return ()


def paths_of(environment: Mapping[str, str], files: str | os.PathLike[str]) -> dict[str, str]:
    """The variables that hold the paths of secrets that are files."""
    return {one.env: str(Path(files) / one.file) for one in given_in(environment) if one.env and one.file}


def values_of(environment: Mapping[str, str], files: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """The values of the secrets that a command was given."""
    found = (one.value(environment, files) for one in given_in(environment))
    return tuple(dict.fromkeys(value for value in found if value))


class Redactor:
    """Replaces the values in text. One for each stream: `feed` keeps what may be the beginning of a value."""

    def __init__(self, values: Iterable[str]) -> None:
        needles = sorted({n for value in values for n in _spellings(value)}, key=lambda n: (-len(n), n))
        self._needles = needles
        self._pattern = re.compile(b"|".join(map(re.escape, needles))) if needles else None
        self._kept = b""

    def __bool__(self) -> bool:
        return self._pattern is not None

    def redact(self, data: bytes) -> bytes:
        """All of it, at once."""
        return data if self._pattern is None else self._pattern.sub(HIDDEN, data)

    def text(self, text: str) -> str:
        """The same for text."""
        return self.redact(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def feed(self, data: bytes) -> bytes:
        """What may be said now; the rest comes with the next piece, or with `flush`."""
        if self._pattern is None:
            return data
        data = self._kept + data
        cut = len(data) - self._held(data)
        # A match at the cut may be the beginning of a longer one: it is looked at again with what follows.
        cut = next((m.start() for m in self._pattern.finditer(data) if m.start() < cut < m.end()), cut)
        self._kept = data[cut:]
        return self._pattern.sub(HIDDEN, data[:cut])

    def flush(self) -> bytes:
        """What was kept; nothing follows."""
        kept, self._kept = self._kept, b""
        return self.redact(kept)

    def _held(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a value."""
        for size in range(min(len(data), len(self._needles[0]) - 1), 0, -1):
            end = data[len(data) - size :]
            if any(len(needle) > size and needle.startswith(end) for needle in self._needles):
                return size
        return 0


def redact_files(folder: Path, redactor: Redactor, *, largest: int = 64 * 1024 * 1024) -> list[str]:
    """Redact the text files below a folder that hold a value, such as an output notebook; which those are.

    Follows no link. A file that is larger, or no text, stays as it is: it is data that the code wrote as such.
    """
    changed = []
    for where, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(where) / name
            if path.is_symlink() or not path.is_file() or path.stat().st_size > largest:
                continue
            data = path.read_bytes()
            if b"\0" in data or (clean := redactor.redact(data)) == data:
                continue
            pending = path.with_name(f".{name}.redacted")
            pending.write_bytes(clean)
            pending.replace(path)
            changed.append(str(path.relative_to(folder)))
    return changed


def _spellings(value: str) -> set[bytes]:
    lines = [line.strip() for line in value.splitlines()]
    plain = {value, value.strip(), *(line for line in lines if len(line) >= _LINE)}
    found = set(plain)
    for text in plain:
        found |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        found |= {quote(text, safe=""), quote(text), quote_plus(text)}
        found.add(base64.b64encode(text.encode()).decode())
        # A notebook's outputs are JSON, in which printed JSON is quoted twice.
        found.add(json.dumps(json.dumps(text)[1:-1])[1:-1])
        found.add(json.dumps(repr(text)[1:-1])[1:-1])
    return {text.encode() for text in found if len(text) >= SHORTEST}
