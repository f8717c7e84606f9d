"""Everything that people can set, type or call is in the docs, as it is: a missing or stale row fails with the row."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

from modelyard_hub import doctor
from modelyard_hub.cli import app
from modelyard_hub.runtimes.base import UNHEARD
from modelyard_hub.runtimes.kubernetes import reasons
from modelyard_hub.service import build
from modelyard_hub.settings import Settings
from modelyard_server.settings import ServerSettings

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
ROOT = "/services/modelyard"


def rows(page: str) -> list[str]:
    """The table rows of a page whose first cell is code."""
    return [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]


def code(row: str) -> str:
    """The code in a row's first cell."""
    return row.split("`")[1]


def settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"| `{prefix}{name.upper()}` | {default(field.default)} | {field.description} |"


def default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return "" if value in (None, "") else f"`{value}`"


def variables(*folders: str) -> set[str]:
    """Variables that the source below the folders reads by name."""
    sources = [p for folder in folders for p in (REPOSITORY / folder).rglob("*.py")]
    return {name for p in sources for name in re.findall(r'"(MODELYARD_[A-Z_]*[A-Z])"', p.read_text())}


def commands(command: Any, path: str) -> Iterator[str]:
    """`command` is one of typer's, whose own copy of click has no public types."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
        yield f"| `{' '.join([path, *arguments])}` | {command.help.strip()} |"


def routes() -> Iterator[str]:
    for path, methods in build(ROOT, 1).openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"| `{method.upper()} {path.removeprefix(ROOT)}` | {operation['summary']} |"


def checks() -> Iterator[str]:
    for module in pkgutil.iter_modules(doctor.__path__):
        if module.name != "base":
            found = __import__(f"{doctor.__name__}.{module.name}", fromlist=["__doc__"])
            yield f"| `{module.name}` | {(found.__doc__ or '').strip()} |"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("settings.md", [*settings(Settings, "MODELYARD_"), *settings(ServerSettings, "MODELYARD_SERVER_")]),
        ("commands.md", [*commands(get_command(app), "modelyard"), *checks()]),
        ("api.md", list(routes())),
    ],
)
def test_every_one_is_documented_as_it_is(page: str, expected: list[str]) -> None:
    present = rows(page)
    missing = [row for row in expected if row not in present]
    assert not missing, "put these rows into docs/" + page + ":\n" + "\n".join(missing)
    known = {code(row) for row in expected} | variables("extensions/modelyard", "hub/modelyard_hub")
    stale = [row for row in present if code(row) not in known]
    assert not stale, f"docs/{page} says what is not there:\n" + "\n".join(stale)


def test_every_variable_of_the_library_is_documented() -> None:
    documented = {code(row) for row in rows("settings.md")}
    assert variables("extensions/modelyard") <= documented
    assert "MODELYARD_CONFIG" in documented


def test_the_readme_leads_to_every_page() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name


def test_the_reasons_of_replicas_on_kubernetes_are_documented() -> None:
    source = Path(reasons.__file__).read_text().split("def of_exit", 1)[0]  # what follows is of tasks and runs
    said = set(re.findall(r'Cause\((?:reason or )?"(\w+)"', source)) | {UNHEARD, "Unschedulable"}
    section = (DOCS / "kubernetes.md").read_text().split("## Why a replica does not run", 1)[1].split("\n## ", 1)[0]
    documented = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    assert documented == said


def test_what_people_see_when_something_goes_wrong_is_what_the_tests_see() -> None:
    page = (DOCS / "kubernetes.md").read_text().split("## When something goes wrong", 1)[1].split("\n## ", 1)[0]
    table = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    seen = "".join(path.read_text() for path in (REPOSITORY / "tests" / "cluster" / "chart").glob("test_*.py"))
    assert len(table) > 10
    for happened, people_see, _ in table:
        words = [w for w in re.findall(r"`([^`]+)`", people_see) if w != "ErrImagePull"]
        assert words, happened
        for quoted in words:
            assert quoted in seen, (happened, quoted)
