"""The Helm chart: its values with their comments, and what it renders to."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "hub" / "chart"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
KUBERNETES = "1.34.4"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Value:
    """One value that may be set: its path with dots, its default, and the comment above it."""

    path: str
    default: Any
    description: str

    @property
    def row(self) -> str:
        """As README.md has it."""
        shown = "" if self.default in ("", None) else f"`{json.dumps(self.default)}`"
        return f"| `{self.path}` | {shown} | {self.description} |"


def values() -> list[Value]:
    """All values in the order of values.yaml. A value without a comment has an empty description."""
    found: list[Value] = []
    stack: list[tuple[int, str]] = []
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    comment: list[str] = []
    inside = -1  # the indentation of a value whose members are not values
    for line in (CHART / "values.yaml").read_text().splitlines():
        indentation = len(line) - len(line.lstrip())
        if not line.strip():
            comment = []
        elif line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            inside = -1
        elif inside < 0 or indentation <= inside:
            inside = -1
            key = re.match(r"\s*([\w.]+):", line)
            assert key, line
            stack = [(i, name) for i, name in stack if i < indentation]
            stack.append((indentation, key[1]))
            if line.rstrip().endswith(":") and not comment:
                continue  # a group
            path = [name for _, name in stack]
            if line.rstrip().endswith(":"):
                inside = indentation
            found.append(Value(".".join(path), _at(defaults, path), " ".join(comment)))
            comment = []
    return found


def _at(tree: Any, path: list[str]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def render(helm: Path, *files: Path, release: str = "modelyard", **settings: str) -> list[Manifest]:
    """What `helm template` makes of the chart; AssertionError with what helm says."""
    command = [str(helm), "template", release, str(CHART), "--namespace", "yard", "--kube-version", KUBERNETES]
    command += [part for file in files for part in ("--values", str(file))]
    command += [part for name, value in settings.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]
