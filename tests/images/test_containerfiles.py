"""What every Containerfile keeps to, read as text; `tests/cluster/test_images.py` builds and runs them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "images").glob("*/Containerfile"))


def stages(file: Path) -> list[str]:
    """The text of each stage, without its extras, which are what differs."""
    found = re.split(r"^(?=FROM )", file.read_text(), flags=re.MULTILINE)[1:]
    return [re.sub(r"(?m)^(#.*|ARG EXTRAS=.*)\n", "", stage) for stage in found]


def test_there_are_four() -> None:
    assert [file.parent.name for file in FILES] == ["hub", "notebook", "notebook-gpu", "server"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_rules(file: Path) -> None:
    text = file.read_text()
    final = stages(file)[-1]
    assert "\nARG BASE=docker.io/library/python:3.11-slim\n" in text
    assert final.startswith("FROM ${BASE}\n")
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["1000:1000"]
    assert "org.opencontainers.image.title" in final
    for tool in ("uv ", "pip ", "apt-get", "npm"):
        assert tool not in final, "the last stage has what was built, and not what builds"


def test_what_is_built_alike_is_written_alike() -> None:
    assert len({stages(file)[0] for file in FILES}) == 1, "then one build of the wheel serves all of them"
    assert len({stages(file)[1] for file in FILES}) == 1
    # Of what serves models alone, what it never opens is removed.
    assert len({stages(file)[2].replace(" && sh install.sh trim", "") for file in FILES}) == 1


def test_the_extras_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for file in FILES:
        (extras,) = re.findall(r'^ARG EXTRAS="(.+)"$', file.read_text(), re.MULTILINE)
        assert set(extras.split()) <= project["optional-dependencies"].keys(), file
        assert f"\nARG VERSION={project['version']}\n" in file.read_text()


def test_the_builder_has_the_makefiles_uv() -> None:
    (wanted,) = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"\nUV_VERSION={wanted}\n" in (ROOT / "images" / "install.sh").read_text()
