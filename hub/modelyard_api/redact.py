"""Values of secrets, taken out of what a run leaves. Light: only the standard library.

Whatever a run prints by mistake is caught: a value as it is, as JSON, Python, HTML, URLs and base64 write it, and each
longer line, as it is, of one that has several. Not what somebody takes apart on purpose, such as a value printed
backwards: the code of a run has the values, and its owner answers for it.
"""

from __future__ import annotations

import base64
import html
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
_LINE = 20
"""Characters from which on a line of a value is hidden by itself."""


@dataclass(frozen=True)
class Given:
    """A secret (owner/name) that a command was given: in the variable `env`, or in `file` of its files, whose path
    `env` then is."""

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
        self._pattern = re.compile(_any_of(needles)) if needles else None
        self._longest = len(needles[0]) if needles else 0
        self._by_head: dict[bytes, list[bytes]] = {}
        for needle in needles:
            self._by_head.setdefault(needle[:SHORTEST], []).append(needle)
        self._heads = re.compile(b"(?=%b)" % _any_of(self._by_head))  # ahead: heads may overlap
        self._starts = {head[:size] for head in self._by_head for size in range(1, SHORTEST)}
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
        said, at = [], 0
        for match in self._pattern.finditer(data) if cut else ():
            if match.end() > cut:
                # At the cut it may be the beginning of a longer one: it is looked at again with what follows.
                cut = min(cut, match.start())
                break
            said += [data[at : match.start()], HIDDEN]
            at = match.end()
        self._kept = data[cut:]
        return b"".join((*said, data[at:cut]))

    def flush(self) -> bytes:
        """What was kept; nothing follows."""
        kept, self._kept = self._kept, b""
        return self.redact(kept)

    def _held(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a value."""
        tail = data[max(0, len(data) - self._longest + 1) :]
        for found in self._heads.finditer(tail):
            end = tail[found.start() :]
            if any(len(needle) > len(end) and needle.startswith(end) for needle in self._by_head[end[:SHORTEST]]):
                return len(end)
        return next((size for size in range(min(SHORTEST - 1, len(tail)), 0, -1) if tail[-size:] in self._starts), 0)


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


def _any_of(texts: Iterable[bytes]) -> bytes:
    """A pattern of them, the first that fits. By first byte, so that few are tried at each place of a text."""
    by_first: dict[bytes, list[bytes]] = {}
    for text in texts:
        by_first.setdefault(text[:1], []).append(re.escape(text[1:]))
    groups = (b"%b(?:%b)" % (re.escape(first), b"|".join(rest)) for first, rest in by_first.items())
    return b"(?:%b)" % b"|".join(groups)


def _spellings(value: str) -> set[bytes]:
    # Lines only as they are: a long value has hundreds, and each further spelling slows every text down.
    found = {line for line in map(str.strip, value.splitlines()) if len(line) >= _LINE}
    for text in {value, value.strip()}:
        found.add(text)
        found |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        found |= {quote(text, safe=""), quote(text), quote_plus(text)}
        found.add(base64.b64encode(text.encode()).decode())
        # A notebook's outputs are JSON, in which printed JSON is quoted twice.
        found.add(json.dumps(json.dumps(text)[1:-1])[1:-1])
        found.add(json.dumps(repr(text)[1:-1])[1:-1])
        for escaped in (html.escape(text), html.escape(text, quote=False), _markupsafe(text)):
            found |= {escaped, json.dumps(escaped)[1:-1], json.dumps(escaped, ensure_ascii=False)[1:-1]}
    return {text.encode() for text in found if len(text) >= SHORTEST}


def _markupsafe(text: str) -> str:
    """As Jinja and what builds on it, such as pandas' styled tables, write HTML: quotes by their numbers."""
    return html.escape(text, quote=False).replace('"', "&#34;").replace("'", "&#39;")
