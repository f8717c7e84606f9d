"""What JupyterHub and JupyterLab import or do at the start of a notebook server, and a server needs later or never.

How, and why nothing is left out: `modelyard.late`. `tests/modelyard/singleuser/test_late.py` tells where a library
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from modelyard.late import SCHEMAS, modules


class Health:
    """In the place of JupyterHub's own page, which its log writer knows by class: no server answers it."""


class DatabaseError(Exception):
    """In the place of SQLAlchemy's, which JupyterHub's own handlers catch: a server has no database."""


# JupyterHub's pages and database, for names in modules that servers share with it.
HUB: Mapping[str, Mapping[str, Any]] = {
    "jupyterhub.handlers": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": Health},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": DatabaseError},
}


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
