"""The form that submits a notebook: what it asks, what it makes of what was typed, and which files it reaches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.runs import notebook
from modelyard import snapshots
from modelyard.errors import InvalidInput, InvalidParameter, NotFound
from modelyard.submit_fields import Filled, place_of, submission, times, values, variables
from modelyard.submit_form import form, notebook_in, offered
from modelyard_api.endpoints import Identity
from modelyard_api.profiles import Catalogue
from modelyard_api.runs import NotebookWork, SecretUse
from modelyard_api.secrets import Secret

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
    secrets = [{"name": "warehouse", "description": ""}]
    found = form(work, PROFILES, ["nightly"], secrets)
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
    assert found["schedules"] == ["nightly"]
    assert ["helpers.py", 6] in found["files"]
    assert found["secrets"] == secrets


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


def test_how_it_runs(work: NotebookWork) -> None:
    filled = Filled(path="train.ipynb", timeout="30", retries="2", priority="-5", environment="A=1\n\n B = x=y \n")
    found = submission(filled, work.declared or ())
    assert (found.timeout, found.retries, found.priority) == (1800, 2, -5)
    assert found.environment == {"A": "1", "B": " x=y"}
    nothing = submission(Filled(path="train.ipynb"), work.declared or ())
    assert (nothing.timeout, nothing.retries, nothing.priority, nothing.environment) == (None, 0, 0, {})
    assert not nothing.secrets


def secret(owner: str, name: str) -> Secret:
    """As the API lists it."""
    now = datetime.now(UTC)
    return Secret(
        owner=owner, name=name, description=f"of {owner}", version=1, created_by="a", created_at=now,
        updated_by="a", updated_at=now,
    )  # fmt: skip


def test_secrets_of_the_user_and_their_groups_are_offered() -> None:
    who = Identity(username="rosa", owner="rosa", groups=("yard", "rosa", "lake"), admin=True)
    known = [secret(*key) for key in (("ada", "a"), ("lake", "key"), ("rosa", "b"), ("rosa", "c"), ("yard", "key"))]
    assert offered(known, who) == [
        {"name": "b", "description": "of rosa"},
        {"name": "c", "description": "of rosa"},
        {"name": "lake/key", "description": "of lake"},
        {"name": "yard/key", "description": "of yard"},
    ]


def test_how_a_run_reads_its_secrets(work: NotebookWork) -> None:
    chosen = [
        {"secret": "team/warehouse"},
        {"secret": "db", "how": "variable", "variable": " DB_URL "},
        {"secret": "team/key", "how": "path", "variable": "KEY"},
    ]
    filled = Filled.model_validate({"path": "train.ipynb", "secrets": chosen})
    spec = submission(filled, work.declared or ()).spec({"notebook": work})
    assert spec.secrets == (
        SecretUse(secret="team/warehouse", file="team.warehouse"),
        SecretUse(secret="db", env="DB_URL"),
        SecretUse(secret="team/key", env="KEY", file="team.key"),
    )


@pytest.mark.parametrize(
    ("variables", "words", "field"),
    [
        (["A", "1A"], "'1A' is no variable", "secrets.second"),
        (["", "A"], "'' is no variable", "secrets.first"),
        (["A", "A"], "A has first already", "secrets.second"),
        (["A", "MODELYARD_A"], "MODELYARD_A is not yours to set; choose another variable", "secrets"),
    ],
)
def test_a_secrets_variable_that_is_wrong(work: NotebookWork, variables: list[str], words: str, field: str) -> None:
    named = zip(("first", "second"), variables, strict=True)
    chosen = [{"secret": name, "how": "variable", "variable": variable} for name, variable in named]
    filled = Filled.model_validate({"path": "train.ipynb", "secrets": chosen})
    with pytest.raises(InvalidInput) as refused:
        submission(filled, work.declared or ()).spec({"notebook": work})
    assert place_of(refused.value) == (field, words)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("timeout", "soon", "'soon' is not a number above 0"),
        ("timeout", "0", "not a number above 0"),
        ("timeout", "nan", "not a number above 0"),
        ("retries", "1.5", "not a whole number from 0 to 20"),
        ("retries", "21", "not a whole number from 0 to 20"),
        ("priority", "101", "not a whole number from -100 to 100"),
        ("environment", "HOME", "'HOME' is no variable"),
        ("environment", "1A=2", "'1A=2' is no variable"),
    ],
)
def test_what_is_wrong_stands_at_its_field(work: NotebookWork, field: str, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        submission(Filled.model_validate({"path": "train.ipynb", field: text}), work.declared or ())
    assert place_of(refused.value)[0] == field


@pytest.mark.parametrize(
    ("error", "field", "said"),
    [
        (InvalidInput("spec.cron: 'x' has 1 fields", field="cron"), "cron", "'x' has 1 fields"),
        (InvalidInput("spec.run.environment.A: no"), "environment", "no"),
        (InvalidInput("spec.secrets: there is no secret rosa/db"), "secrets", "there is no secret rosa/db"),
        (InvalidInput("spec.run.secrets: there is no secret rosa/db"), "secrets", "there is no secret rosa/db"),
        (InvalidInput("timeout: Input should be greater than 0"), "timeout", "Input should be greater than 0"),
        (InvalidParameter("'depth' is none", field="depth"), "parameters.depth", "'depth' is none"),
        (InvalidInput("the notebook has no kernel"), "", "the notebook has no kernel"),
    ],
    ids=str,
)
def test_errors_of_others_too(error: InvalidInput, field: str, said: str) -> None:
    assert place_of(error) == (field, said)


def test_a_schedule() -> None:
    filled = Filled(path="train.ipynb", name="My Nightly!", cron="0 5 * * *", time_zone=" Europe/Berlin ")
    found = times(filled)
    assert (found.cron, found.time_zone, found.name) == ("0 5 * * *", "Europe/Berlin", "my-nightly")
    for wrong, field in (
        (filled.model_copy(update={"cron": " "}), "cron"),
        (filled.model_copy(update={"name": ""}), "name"),
    ):
        with pytest.raises(InvalidInput) as refused:
            times(wrong)
        assert place_of(refused.value)[0] == field
    assert variables("") == {}


def test_a_schedule_for_new_files() -> None:
    filled = Filled(path="train.ipynb", name="incoming", on_files=" s3://lake/incoming ")
    found = times(filled)
    assert (found.cron, found.on_files, found.name) == (None, "s3://lake/incoming", "incoming")
    with pytest.raises(InvalidInput) as refused:
        times(filled.model_copy(update={"on_files": " "}))
    assert place_of(refused.value)[0] == "on_files"
    said = InvalidInput("spec.on_files.location: there is no folder /lake")
    assert place_of(said) == ("on_files", "there is no folder /lake")


def test_no_file_outside_of_the_servers_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.ipynb").write_text("{}")
    (tmp_path / "b.ipynb").write_text("{}")
    assert notebook_in(tmp_path / "inside", "/a.ipynb") == tmp_path / "inside" / "a.ipynb"
    for path in ("../b.ipynb", "none.ipynb", "", "/"):
        with pytest.raises(NotFound):
            notebook_in(tmp_path / "inside", path)
