"""What counts as drift, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_hub.runtimes.kubernetes.drift import drift

WANTED = {
    "spec": {
        "replicas": 2,
        "containers": [{"name": "server", "image": "a", "command": ["x", "y"], "env": [{"name": "A", "value": "1"}]}],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "owners": [{"uid": "1", "name": "root"}],
    }
}


@pytest.mark.parametrize(
    ("live", "fields"),
    [
        (WANTED, ()),
        # Defaults, what others add and the order of a list by name are none of ours.
        (
            {
                "status": {"replicas": 1},
                "spec": {
                    **WANTED["spec"],
                    "paused": False,
                    "containers": [
                        {"name": "sidecar"},
                        {**WANTED["spec"]["containers"][0], "imagePullPolicy": "Always"},  # type: ignore[index]
                    ],
                },
            },
            (),
        ),
        ({"spec": {**WANTED["spec"], "replicas": 5}}, ("spec.replicas",)),
        ({"spec": {**WANTED["spec"], "volumes": []}}, ("spec.volumes[tmp]",)),
        ({"spec": {k: v for k, v in WANTED["spec"].items() if k != "owners"}}, ("spec.owners",)),
        (
            {"spec": {**WANTED["spec"], "containers": [{"name": "server", "image": "b", "command": ["y", "x"]}]}},
            ("spec.containers[server].image", "spec.containers[server].command", "spec.containers[server].env"),
        ),
    ],
)
def test_only_what_we_say_counts(live: dict[str, Any], fields: tuple[str, ...]) -> None:
    assert drift(WANTED, live) == fields


def test_lists_without_names_are_compared_by_place() -> None:
    assert drift({"env": [{"a": 1}]}, {"env": [{"a": 2}]}) == ("env[0].a",)
    assert drift({"env": [{"a": 1}]}, {"env": []}) == ("env",)
