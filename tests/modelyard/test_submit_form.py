"""The form that submits a notebook: what it asks, what it makes of what was typed, and which files it reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.runs import notebook
from modelyard import snapshots
from modelyard.errors import InvalidParameter, NotFound
from modelyard.submit_form import form, notebook_in, values
from modelyard_api.profiles import Catalogue
from modelyard_api.runs import NotebookWork

CELL = "depth = 3  # of the trees\nrate = 0.1\nname = 'churn'\nfast = True\ncolumns = ['a']\nsince = None\n"
PROFILES = list(
    Catalogue.model_validate({"profiles": [{"name": "small", "title": "Small", "cpu": 1, "memory": "1Gi"}]}).profiles
)


@pytest.fixture
def work(tmp_path: Path) -> NotebookWork:
    (tmp_path / "train.ipynb").write_text(notebook("import helpers", parameters=CELL))
    (tmp_path / "helpers.py").write_text("x = 1\n")
    return snapshots.take(tmp_path / "train.ipynb").work


def test_what_is_asked(work: NotebookWork) -> None:
    found = form(work, PROFILES)
    assert found["name"] == "train"
    assert [(one["name"], one["type"], one["value"]) for one in found["parameters"]] == [
        ("depth", "int", "3"),
        ("rate", "float", "0.1"),
        ("name", "str", "churn"),
        ("fast", "bool", True),
        ("columns", "list", "['a']"),
        ("since", "", "None"),
    ]
    assert found["parameters"][0]["help"] == "of the trees"
    assert found["profiles"] == [{"name": "small", "title": "Small"}]
    assert ["helpers.py", 6] in found["files"]


@pytest.mark.parametrize(
    ("filled", "made"),
    [
        ({"depth": "3", "name": "churn", "fast": True, "since": "None"}, {}),
        ({"depth": "7"}, {"depth": 7}),
        ({"rate": "1"}, {"rate": 1}),
        ({"name": "7"}, {"name": "7"}),
        ({"fast": False}, {"fast": False}),
        ({"columns": "['a', 'b']"}, {"columns": ["a", "b"]}),
        ({"columns": '["a"]'}, {"columns": ["a"]}),
        ({"since": "2026-01-01"}, {"since": "2026-01-01"}),
        ({"since": "12"}, {"since": 12}),
        ({"unknown": "1"}, {"unknown": 1}),  # told by who checks all
    ],
    ids=str,
)
def test_what_was_typed(work: NotebookWork, filled: dict[str, Any], made: dict[str, Any]) -> None:
    assert values(work.declared or (), filled) == made


def test_what_means_nothing_is_named(work: NotebookWork) -> None:
    with pytest.raises(InvalidParameter, match="'depth' must be of type int, 'many' is none") as refused:
        values(work.declared or (), {"depth": "many"})
    assert refused.value.extra["field"] == "depth"


def test_no_file_outside_of_the_servers_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.ipynb").write_text("{}")
    (tmp_path / "b.ipynb").write_text("{}")
    assert notebook_in(tmp_path / "inside", "/a.ipynb") == tmp_path / "inside" / "a.ipynb"
    for path in ("../b.ipynb", "none.ipynb", "", "/"):
        with pytest.raises(NotFound):
            notebook_in(tmp_path / "inside", path)
