"""Modules that processes of ours import when something of them is used, not when a library names them.

For processes whose start is mostly imports. Nothing is left out: what only a few functions need stands in a table by
name, and each table says what uses it. Where a library changes so that an entry does not fit any more, its module is
imported as ever, and the start takes longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class Late(ModuleType):
    """A module that is imported when an attribute of it is used, but for those in `known`."""

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(real(self.__name__), name)


def real(name: str) -> ModuleType:
    """The module itself, imported now where it was late."""
    if isinstance(sys.modules.get(name), Late):
        sys.modules.pop(name, None)
    return import_module(name)


def later(module: str, name: str) -> Callable[..., Any]:
    """That function or class of the module, which is imported when it is called."""

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(real(module), name)(*arguments, **named)

    return call


# A second of building a grammar, for the check of `iri` in a JSON schema.
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "rfc3987_syntax": {"is_valid_syntax": later("rfc3987_syntax", "is_valid_syntax")}
}


@contextmanager
def modules(names: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Within, whoever imports these gets them late. Afterwards others import them as ever."""
    made = {name: Late(name, known) for name, known in names.items() if name not in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                sys.modules.pop(name, None)
