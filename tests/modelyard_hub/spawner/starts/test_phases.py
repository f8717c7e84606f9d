"""How long the phases of a start took, and what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from modelyard_hub.spawner.starts.phases import PHASES, Clock, History, Quantiles, of_pod

FOLDER = Path(__file__).parent / "observed"


def pod(created: int, scheduled: int, prepared: int, started: int) -> dict[str, Any]:
    def at(second: int) -> str:
        return f"2026-11-26T20:00:{second:02}Z"

    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(scheduled)},
        {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": at(prepared)},
    ]
    running = {"state": {"running": {"startedAt": at(started)}}}
    status = {"conditions": conditions, "containerStatuses": [running]}
    return {"metadata": {"creationTimestamp": at(created)}, "status": status}


def event(reason: str, second: int) -> dict[str, Any]:
    return {"reason": reason, "lastTimestamp": f"2026-11-26T20:00:{second:02}Z", "involvedObject": {"kind": "Pod"}}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), {"schedule": 3, "attach": 7, "pull": 40, "start": 0}),
        (
            (event("Pulling", 10), event("Pulled", 48), event("Created", 49)),
            {"schedule": 3, "attach": 7, "pull": 38, "start": 2},
        ),
        ((event("Scheduled", 3), event("Pulled", 12)), {"schedule": 3, "attach": 9, "pull": 0, "start": 38}),
        # The kubelet sets the condition late, and a clock may be off: phases are never negative.
        ((event("Pulling", 55), event("Pulled", 59)), {"schedule": 3, "attach": 47, "pull": 0, "start": 0}),
    ],
)
def test_the_phases_of_a_pod_add_up_to_its_start(
    events: tuple[dict[str, Any], ...], expected: dict[str, float]
) -> None:
    found = of_pod(pod(0, 3, 10, 50), events)
    assert found == expected
    assert sum(found.values()) == 50


def test_a_real_pod_and_one_that_does_not_run() -> None:
    good = json.loads((FOLDER / "good.json").read_text())
    events = tuple(e for e in good["events"] if e["involvedObject"]["kind"] == "Pod")
    assert of_pod(good["pod"], events) == {"schedule": 1.0, "attach": 1.0, "pull": 0.0, "start": 0.0}
    assert of_pod(json.loads((FOLDER / "no-cpu.json").read_text())["pod"]) == {}


def test_what_is_left_is_the_rest_of_the_phase_and_the_phases_to_come() -> None:
    history = History()
    assert history.remaining("pull", 0.0) is None
    for seconds in (2.0, 30.0, 40.0):
        history.add("pull", seconds)
        history.add("start", 1.0)
        history.add("ready", 6.0)
    assert history.remaining("pull", 0.0) == 30 + 1 + 6
    assert history.remaining("pull", 10.0) == 30 - 10 + 1 + 6, "those of 2 s are out of the question"
    history.add("pull", 0.0)
    assert history.expected()["pull"] == 30.0, "of those that had to be pulled"
    assert history.remaining("pull", 41.0) is None, "no start is known that took as long"
    assert history.remaining("ready", 1.0) == 5.0


def test_only_the_latest_are_remembered_and_a_server_is_taken_up_once() -> None:
    history = History(kept=3)
    for seconds in (100.0, 1.0, 2.0, 3.0):
        history.add("ready", seconds)
    assert history.quantile("ready", 0.99) == 3.0
    for _ in range(2):
        history.seed("ns/notebook-ada", {"queue": 0.5, "unheard-of": 1.0})
    assert history.count("queue") == 1
    assert history.usual() == {"queue": 0.5, "ready": 2.0}


def test_quantiles_are_metrics() -> None:
    history, registry = History(), CollectorRegistry()
    registry.register(Quantiles(history))
    for seconds in range(1, 101):
        history.add("pull", float(seconds))
    lines = generate_latest(registry).decode().splitlines()
    for quantile, seconds in (("0.5", "50.0"), ("0.95", "95.0"), ("0.99", "99.0")):
        assert f'modelyard_spawn_phase_quantile_seconds{{phase="pull",quantile="{quantile}"}} {seconds}' in lines
    assert sum(line.startswith("modelyard_spawn") for line in lines) == 3


def test_a_clock_keeps_the_first_of_each_mark() -> None:
    clock = Clock()
    clock.mark("created")
    first = clock.between("begun", "created")
    clock.mark("created")
    assert clock.between("begun", "created") == first
    assert clock.between("created", "never") is None
    assert clock.since("never") == 0.0
    assert len(PHASES) == 7


def test_who_has_had_its_turn_is_told_what_starts_take_and_not_what_others_waited() -> None:
    history = History()
    history.add("queue", 500.0)
    history.add("start", 2.0)
    assert history.whole() is None, "none is known to have answered"
    history.add("ready", 5.0)
    assert history.whole() == history.remaining("queue", 100.0) == 7.0
