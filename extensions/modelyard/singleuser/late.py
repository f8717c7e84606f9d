"""What JupyterHub and JupyterLab import or do at the start of a notebook server, and a server needs later or never.

Nothing is left out. A module that is late is imported when something of it is used; what only a few functions need
stands here by name. Each entry says what uses it. Where a library changes so that an entry does not fit any more, its
module is imported as ever, and the start takes longer: `tests/modelyard/singleuser/test_late.py` tells.
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
        del sys.modules[name]
    return import_module(name)


class Health:
    """In the place of JupyterHub's own page, which its log writer knows by class: no server answers it."""


class DatabaseError(Exception):
    """In the place of SQLAlchemy's, which JupyterHub's own handlers catch: a server has no database."""


def _valid(term: str, value: str) -> bool:
    return bool(real("rfc3987_syntax").is_valid_syntax(term, value))


# A second of building a grammar, for the check of `iri` in a JSON schema.
SCHEMAS: Mapping[str, Mapping[str, Any]] = {"rfc3987_syntax": {"is_valid_syntax": _valid}}
# JupyterHub's pages and database, for names in modules that servers share with it.
HUB: Mapping[str, Mapping[str, Any]] = {
    "jupyterhub.handlers": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": Health},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": DatabaseError},
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
                del sys.modules[name]


def import_hub() -> None:
    """JupyterHub's part of a notebook server, without JupyterHub."""
    with modules(SCHEMAS):
        import_module("jupyter_server.serverapp")
    with modules(HUB):
        import_module("jupyterhub.singleuser.extension")


def import_lab() -> None:
    """JupyterLab's extension of the server, without asking Yarn for its settings, and without reading what all
    installed packages offer."""
    try:
        commands = import_module("jupyterlab.commands")
    except ImportError:
        return
    with modules(SCHEMAS), _at_start(commands, "_yarn_config", lambda *_: {"yarn config": {}, "npm config": {}}):
        with _at_start(import_module("importlib.metadata"), "entry_points", lambda **_: ()):
            extensions = import_module("jupyterlab.extensions")
        vars(extensions)["MANAGERS"] = Managers()
        import_module("jupyterlab.labapp")


class Managers(dict[str, Any]):
    """JupyterLab's extension managers by name. Its own two are known; for others, all packages are asked."""

    def get(self, name: str, default: Any = None) -> Any:
        """See `dict.get`."""
        from importlib.metadata import EntryPoint, entry_points

        group = "jupyterlab.extension_manager_v1"
        if name in ("readonly", "pypi"):
            return EntryPoint(name, f"jupyterlab.extensions:get_{name}_manager", group)
        return next(iter(entry_points(group=group, name=name)), default)


@contextmanager
def _at_start(module: ModuleType, name: str, instead: Callable[..., Any]) -> Iterator[None]:
    before = getattr(module, name, None)
    if before is None:
        yield
        return
    setattr(module, name, instead)
    try:
        yield
    finally:
        setattr(module, name, before)
