"""The profiles of an installation: from a file, or built in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard_api.choices import Choice, choose
from modelyard_api.errors import InvalidInput
from modelyard_api.resources import MiB
from modelyard_hub.profiles import catalogue
from modelyard_hub.settings import Settings

GiB = 1024 * MiB
TOML = """
[[profiles]]
name = "small"
cpu = {min = 0.5, default = 1, max = 2, step = 0.5}
memory = "2Gi"
"""


def test_from_a_file_toml_or_json(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(TOML)
    (tmp_path / "profiles.json").write_text(json.dumps({"profiles": [{"name": "x", "cpu": 1, "memory": "1Gi"}]}))
    first = catalogue(Settings(home=tmp_path, profiles=tmp_path / "profiles.toml")).profiles[0]
    assert (first.name, first.cpu.max, first.memory.min) == ("small", 2, 2 * GiB)
    assert catalogue(Settings(home=tmp_path, profiles=tmp_path / "profiles.json")).profiles[0].name == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles = 1", "profiles"),
        ("[[profiles", "profiles.toml"),
        (TOML.replace("2Gi", "much"), "profiles.0.memory"),
        (TOML + 'colour = "red"', "colour"),
    ],
    ids=["no list", "no TOML", "no amount", "unknown"],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "profiles.toml").write_text(text)
    with pytest.raises(InvalidInput, match=said):
        catalogue(Settings(home=tmp_path, profiles=tmp_path / "profiles.toml"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        catalogue(Settings(home=tmp_path, profiles=tmp_path / "none.toml"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"notebook_memory": 1 << 30, "notebook_shm": 128 * MiB, "notebook_cpu": 0.05},
        {"notebook_memory": 3 * GiB + 1, "notebook_shm": 100 * MiB, "notebook_cpu_limit": 0.3},
        {"notebook_memory": 256 * MiB, "notebook_shm": 256 * MiB, "notebook_cpu": 4, "notebook_cpu_limit": 2},
        {"notebook_cpu": 0},
    ],
    ids=str,
)
def test_the_default_of_the_built_in_ones_is_what_the_settings_say(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = Settings(home=tmp_path, **settings)
    found = catalogue(made)
    assert [p.name for p in found.profiles] == ["small", "medium", "large"]
    sizes = choose(found, Choice(), ())
    assert (sizes.cpu, sizes.memory, sizes.shm) == (made.notebook_cpu_limit, made.notebook_memory, made.notebook_shm)
    assert sizes.cpu_sure == pytest.approx(min(made.notebook_cpu, made.notebook_cpu_limit), abs=0.002)
    assert choose(found, Choice(profile="large"), ()).memory == 4 * made.notebook_memory


def test_one_with_gpus_where_there_is_an_image(tmp_path: Path) -> None:
    found = catalogue(Settings(home=tmp_path, notebook_gpu_image="r/gpu:1", gpu_resource="amd.com/gpu"))
    sizes = choose(found, Choice(profile="gpu"), ())
    assert (sizes.gpus, sizes.gpu_resource, sizes.image) == (1, "amd.com/gpu", "r/gpu:1")


def test_settings_that_make_no_profile(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"in the settings: .*shm"):
        catalogue(Settings(home=tmp_path, notebook_shm=4 * GiB))


def test_the_example_of_the_docs_is_taken(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    (tmp_path / "profiles.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    found = catalogue(Settings(home=tmp_path, profiles=tmp_path / "profiles.toml"))
    assert [p.name for p in found.visible(["research"])] == ["small", "slice"]


def test_quotas_may_be_declared_alone_and_the_first_of_ones_groups_counts(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text('[[quotas]]\ngroups = ["research"]\nmemory = "64Gi"\n[[quotas]]\nservers = 1\n')
    found = catalogue(Settings(home=tmp_path, runtime="kubernetes", profiles=file))
    assert [profile.name for profile in found.profiles] == ["small", "medium", "large"]
    research, others = found.quota({"team", "research"}), found.quota({"team"})
    assert research is not None
    assert (research.memory, research.servers) == (64 << 30, None)
    assert others is not None
    assert others.servers == 1
