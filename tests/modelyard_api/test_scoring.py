"""What names a model version, and options that contradict themselves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelyard_api.errors import InvalidInput
from modelyard_api.scoring import ModelRef, ScoreOptions, parse_model


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("models:/churn/3", ModelRef("ada.churn", "3")),
        ("churn/3", ModelRef("ada.churn", "3")),
        ("models:/team.churn/12", ModelRef("team.churn", "12")),
        ("models:/churn@champion", ModelRef("ada.churn", alias="champion")),
        ("models:/churn/latest", ModelRef("ada.churn")),
        ("churn", ModelRef("ada.churn")),
    ],
)
def test_a_model_version_is_named_in_several_ways(text: str, found: ModelRef) -> None:
    assert parse_model(text, "ada") == found
    assert parse_model(str(found), "ada") == found


@pytest.mark.parametrize("text", ["", "models:/", "models:/churn/three", "models:/churn/3/4", "models:/churn/"])
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="names no model version"):
        parse_model(text, "ada")


def test_options_name_nothing_twice_and_nothing_unknown() -> None:
    with pytest.raises(ValidationError, match="keys names 'id' twice"):
        ScoreOptions(keys=("id", "id"))
    with pytest.raises(ValidationError, match="sql"):
        ScoreOptions(sql="postgresql://ada:secret@db/x")
    with pytest.raises(ValidationError, match="chunks"):
        ScoreOptions.model_validate({"chunks": 3})
