"""A line for a terminal, shown as it is to be pasted."""

from __future__ import annotations


class CommandLine(str):
    """A shell command: `print` gives the line alone, a notebook cell the line and its `note` below."""

    note: str
    __slots__ = ("note",)

    def __new__(cls, text: str, note: str = "") -> CommandLine:
        line = super().__new__(cls, text)
        line.note = note
        return line

    def __repr__(self) -> str:
        return f"{self}\n# {self.note}" if self.note else str(self)
