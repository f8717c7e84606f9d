"""What is late is not lost: in processes of their own, since imports happen once."""

from __future__ import annotations

import pytest

from harness.python import python

HEAVY = ("alembic", "sqlalchemy", "mako", "lark", "rfc3987_syntax", "jupyterhub.orm", "jupyterhub.handlers")


def test_a_server_starts_without_what_it_does_not_need() -> None:
    code = "import sys, modelyard.singleuser.server; print(*sys.modules)"
    imported = set(python(code).split())
    assert {"jupyterhub.singleuser.extension", "jupyter_server.serverapp", "jupyterlab.labapp"} <= imported
    assert not imported & set(HEAVY), "a library changed: see modelyard/singleuser/late.py"


def test_whoever_needs_it_gets_the_real_thing() -> None:
    assert (
        python(
            """
import modelyard.singleuser.server
import sqlalchemy, jupyterhub.orm
from jupyterhub.handlers.pages import HealthCheckHandler
from jupyterhub import scopes
assert sqlalchemy.create_engine("sqlite://").connect()
assert issubclass(HealthCheckHandler, object) and HealthCheckHandler.__module__ == "jupyterhub.handlers.pages"
assert scopes.orm.User is jupyterhub.orm.User
print("fine")
"""
        ).strip()
        == "fine"
    )


@pytest.mark.parametrize(("value", "valid"), [("https://exämple.org/ä", "True"), ("not an iri", "False")])
def test_schemas_are_checked_as_ever(value: str, valid: str) -> None:
    code = f"""
import modelyard.singleuser.server
from jsonschema import Draft7Validator, FormatChecker
print(Draft7Validator({{"format": "iri"}}, format_checker=Draft7Validator.FORMAT_CHECKER).is_valid({value!r}))
"""
    assert python(code).strip() == valid


def test_jupyterlab_knows_its_extension_managers_and_yarn() -> None:
    code = """
import modelyard.singleuser.server
from jupyterlab import commands, extensions
print(extensions.MANAGERS.get("readonly").load().__name__, extensions.MANAGERS.get("pypi").load().__name__)
print(extensions.MANAGERS.get("nobody's"), commands._yarn_config.__module__)
"""
    assert python(code).split("\n")[:2] == ["get_readonly_manager get_pypi_manager", "None jupyterlab.commands"]
