"""Every value of the chart has a comment, a row in README.md and a place in the schema; examples set only those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.chart import CHART, EXAMPLES, values
from modelyard_hub.settings import Settings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_every_value_is_documented_as_it_is() -> None:
    assert not [value.path for value in values() if not value.description]
    present = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    expected = [value.row for value in values()]
    missing = [row for row in expected if row not in present]
    assert not missing, "put these rows into hub/chart/README.md:\n" + "\n".join(missing)
    assert len(present) == len(expected), [row for row in present if row not in expected]


def test_every_value_has_a_place_in_the_schema() -> None:
    for value in values():
        place: dict[str, Any] = SCHEMA
        for name in value.path.split("."):
            assert place.get("additionalProperties") is False, value.path
            place = place["properties"][name]
        assert "type" in place or "enum" in place, value.path


@pytest.mark.parametrize("file", [CHART / "values.yaml", *EXAMPLES], ids=lambda file: file.stem)
def test_defaults_and_examples_are_valid(file: Path) -> None:
    jsonschema.validate(yaml.safe_load(file.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "wrong",
    [
        {"publicURL": "http://x"},
        {"traefik": {"replicas": 0}},
        {"notebook": {"memory": "much"}},
        {"images": {"pullPolicy": "Sometimes"}},
        {"publicUrl": "yard.example.com"},
        {"traces": {"url": "otel.observability:4318"}},
        {"traces": {"share": 100}},
        {"traces": {"collector": {"cidrs": ["10.1.2.3"]}}},
        {"traces": {"collector": {"podLabels": ["app=otel"]}}},
        {"traces": {"collector": {"port": "http"}}},
        {"profiles": [{"name": "small", "cpu": 1}]},
        {"profiles": [{"name": "small", "cpu": 1, "memory": "much"}]},
        {"profiles": [{"name": "small", "cpu": 1, "memory": "1Gi", "gpu": 1}]},
    ],
    ids=str,
)
def test_mistakes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_profiles_are_what_the_hub_takes() -> None:
    kept = json.loads((CHART.parents[1] / "docs" / "profiles.schema.json").read_text())
    assert SCHEMA["$defs"] == kept["$defs"]


def test_the_settings_that_the_chart_makes_are_settings() -> None:
    template = (CHART / "templates" / "settings.yaml").read_text()
    made = {word.strip('"') for line in template.splitlines() for word in line.split()[:1] if word.startswith('"')}
    assert len(made) > 20
    assert made <= set(Settings.model_fields), made - set(Settings.model_fields)
