"""Profiles and choices: what is allowed, what it comes to, and what is said about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from modelyard_api.choices import Choice, Sizes, choose
from modelyard_api.errors import Forbidden, InvalidChoice
from modelyard_api.profiles import Catalogue
from modelyard_api.quantities import parse_bytes, quantity, show_bytes
from modelyard_api.resources import MiB

GiB = 1024 * MiB
REPOSITORY = Path(__file__).parents[2]
MEMORY = {"min": "2Gi", "default": "4Gi", "max": "8Gi", "step": "1Gi"}
SMALL: dict[str, Any] = {
    "name": "small",
    "cpu": {"min": 0.5, "default": 1, "max": 2, "step": 0.5},
    "memory": MEMORY,
    "shm": {"min": "256Mi", "default": "1Gi", "max": "8Gi", "step": "256Mi"},
    "images": [{"name": "usual", "image": "r/notebook:1"}, {"name": "new", "image": "r/notebook:2"}],
}
GPU: dict[str, Any] = {
    "name": "gpu",
    "cpu": 4,
    "memory": "16Gi",
    "gpus": {"min": 1, "default": 1, "max": 2, "step": 1},
    "gpu_resource": "nvidia.com/mig-1g.10gb",
    "volume": {"min": "10Gi", "default": "10Gi", "max": "50Gi", "step": "10Gi"},
    "node_selector": {"gpu": "a100"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "runtime_class": "nvidia",
    "groups": ["research", "vision"],
}
BOTH = Catalogue.model_validate({"profiles": [SMALL, GPU]})


def chosen(groups: tuple[str, ...] = ("research",), **options: Any) -> Sizes:
    return choose(BOTH, Choice.read(options), groups)


def test_nothing_chosen_is_the_first_profile_with_its_defaults() -> None:
    sizes = chosen()
    assert (sizes.profile, sizes.cpu, sizes.cpu_sure) == ("small", 1.0, 0.25)
    assert (sizes.memory, sizes.shm, sizes.gpus, sizes.volume) == (4 * GiB, GiB, 0, None)
    assert sizes.image == "r/notebook:1"


def test_everything_of_a_profile_is_in_its_sizes() -> None:
    sizes = chosen(profile="gpu", gpus=2, volume="20Gi")
    assert (sizes.gpus, sizes.gpu_resource, sizes.volume) == (2, "nvidia.com/mig-1g.10gb", 20 * GiB)
    assert (sizes.node_selector, sizes.runtime_class) == ({"gpu": "a100"}, "nvidia")
    assert sizes.tolerations == ({"key": "gpu", "operator": "Exists"},)
    assert (sizes.resources.cpu, sizes.resources.memory, sizes.resources.gpu) == (4.0, 16 * GiB, 2)


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"cpu": 4}, "cpu", "cpu: 4 CPUs is not what profile 'small' allows. "
                            "Choose 0.5 CPUs to 2 CPUs in steps of 0.5 CPUs."),
        ({"cpu": 0.7}, "cpu", "in steps of"),
        ({"cpu": -1}, "cpu", "0.5 CPUs to 2 CPUs"),
        ({"cpu": "nan"}, "cpu", "finite"),
        ({"cpu": "many"}, "cpu", "number"),
        ({"cpu": [1]}, "cpu", "number"),
        ({"memory": "9Gi"}, "memory", "Choose 2 GiB to 8 GiB in steps of 1 GiB."),
        ({"memory": "2.5Gi"}, "memory", "in steps of 1 GiB"),
        ({"memory": "big"}, "memory", "'512Mi' or '2Gi'"),
        ({"memory": True}, "memory", "no amount"),
        ({"memory": 10**40}, "memory", "2 GiB to 8 GiB"),
        ({"memory": "2Gi", "shm": "3Gi"}, "shm", "3 GiB are more than the memory, 2 GiB"),
        ({"gpus": 1}, "gpus", "exactly 0 GPUs"),
        ({"profile": "gpu", "cpu": 8}, "cpu", "exactly 4 CPUs"),
        ({"profile": "gpu", "gpus": 1.5}, "gpus", "integer"),
        ({"volume": "1Gi"}, "volume", "none to choose"),
        ({"image": "newest"}, "image", "Choose usual or new."),
        ({"profile": "gpu", "image": "new"}, "image", "Leave it out."),
        ({"profile": "huge"}, "profile", "there is no profile 'huge'. Choose small or gpu."),
        ({"profile": 1}, "profile", "string"),
        ({"node_selector": {"a": "b"}}, "", "there is no option 'node_selector'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_allowed_names_the_field_and_what_is(options: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidChoice) as refused:
        chosen(**options)
    assert refused.value.extra["field"] == field
    assert said in str(refused.value)


def test_a_profile_of_other_groups_is_neither_seen_nor_given() -> None:
    assert [p.name for p in BOTH.visible(["team"])] == ["small"]
    assert [p.name for p in BOTH.visible(["vision", "team"])] == ["small", "gpu"]
    with pytest.raises(Forbidden, match=r"profile 'gpu' is for members of research or vision\. Choose small\."):
        chosen(groups=("team",), profile="gpu")
    alone = Catalogue.model_validate({"profiles": [GPU]})
    with pytest.raises(Forbidden, match="no profile is for any of your groups"):
        choose(alone, Choice(), ["team"])


def test_shared_memory_that_nobody_chose_follows_the_memory() -> None:
    wide = {**SMALL, "memory": {**MEMORY, "min": "1Gi"}, "shm": {"min": "300Mi", "default": "2100Mi", "max": "3Gi",
                                                                "step": "36Mi"}}  # fmt: skip
    catalogue = Catalogue.model_validate({"profiles": [wide]})
    sizes = choose(catalogue, Choice.read({"memory": "1Gi"}), ())
    assert sizes.shm == (300 + 20 * 36) * MiB
    assert sizes.shm <= sizes.memory


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": {"min": 2, "default": 1, "max": 4, "step": 1}}, "between"),
        ({"cpu": {"min": 1, "default": 2, "max": 3.5, "step": 1}}, "whole steps"),
        ({"cpu": {"min": 1, "default": 2, "max": 3, "step": 0}}, "greater than 0"),
        ({"cpu": 0}, "more than 0"),
        ({"cpu": "many"}, "number"),
        ({"memory": "1Mi"}, "at least 64Mi"),
        ({"memory": "lots"}, "no amount"),
        ({"shm": "5Gi"}, "not be above the memory"),
        ({"shm": {"min": "1Gi", "default": "5Gi", "max": "8Gi", "step": "1Gi"}}, "not be above the memory"),
        ({"name": "Small One"}, "DNS label"),
        ({"gpu_resource": "gpu"}, "pattern"),
        ({"images": [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]}, "two images"),
        ({"colour": "red"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_mistake_in_a_declaration_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Catalogue.model_validate({"profiles": [{**SMALL, **changed}]})


def test_names_are_distinct_and_there_is_a_profile() -> None:
    with pytest.raises(ValidationError, match="two profiles"):
        Catalogue.model_validate({"profiles": [SMALL, SMALL]})
    with pytest.raises(ValidationError, match="at least 1"):
        Catalogue.model_validate({"profiles": []})


def test_the_schema_that_is_kept_is_that_of_the_code_and_means_the_same() -> None:
    kept = json.loads((REPOSITORY / "docs" / "profiles.schema.json").read_text())
    assert kept == Catalogue.model_json_schema(), "write it anew: docs/profiles.md says how"
    jsonschema.validate({"profiles": [SMALL, GPU]}, kept)
    for wrong in ({**SMALL, "memory": "lots"}, {**SMALL, "colour": "red"}, {"name": "x"}, {**SMALL, "gpus": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"profiles": [wrong]}, kept)


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [
        ("512Mi", 512 * MiB, "512 MiB"),
        ("1.5 GiB", 3 * GiB // 2, "1.5 GiB"),
        ("2Ti", 2048 * GiB, "2 TiB"),
        ("17", 17, "17 B"),
    ],
)
def test_amounts_as_people_write_them(text: str, count: int, shown: str) -> None:
    assert parse_bytes(text) == count
    assert show_bytes(count) == shown
    assert parse_bytes(quantity(count)) == count


@pytest.mark.parametrize("text", ["", "Gi", "2G", "-1Gi", "1e3", "2 Gi B", "١Gi"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        parse_bytes(text)
