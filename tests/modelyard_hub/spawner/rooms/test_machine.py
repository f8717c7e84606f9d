"""What of the profiles fits onto a machine, and what it says of itself."""

from __future__ import annotations

import os
from typing import Any

import pytest

from modelyard_api.choices import Choice, choose
from modelyard_api.profiles import Catalogue
from modelyard_api.resources import MiB
from modelyard_hub.spawner.rooms import machine
from modelyard_hub.spawner.rooms.machine import Machine, fitting, share, surroundings, whole

GiB = 1024 * MiB
HERE = Machine(cores=4, memory=8 * GiB, free_memory=3 * GiB, shm=4 * GiB, gpus=0, busy=1.26)


def profile(name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "cpu": 1, "memory": "1Gi"} | changed


def fit(*profiles: dict[str, Any], here: Machine = HERE) -> Catalogue:
    return fitting(Catalogue.model_validate({"profiles": list(profiles)}), here)


def test_what_does_not_fit_is_not_offered() -> None:
    offered = fit(
        profile("fits"),
        profile("cpus", cpu=5),
        profile("memory", memory="9Gi"),
        profile("gpu", gpus=1),
    )
    assert [p.name for p in offered.profiles] == ["fits"]
    assert [p.name for p in fit(profile("huge", memory="1Ti")).profiles] == ["machine"]


def test_bounds_are_cut_to_the_machine_on_whole_steps() -> None:
    memory = {"min": "1Gi", "default": "16Gi", "max": "31Gi", "step": "3Gi"}
    (cut,) = fit(profile("wide", cpu={"min": 0.5, "default": 8, "max": 16, "step": 0.5}, memory=memory,
                         gpus={"min": 0, "default": 1, "max": 2, "step": 1})).profiles  # fmt: skip
    assert (cut.cpu.default, cut.cpu.max) == (4, 4)
    assert (cut.memory.default, cut.memory.max) == (7 * GiB, 7 * GiB)
    assert (cut.gpus.default, cut.gpus.max) == (0, 0)
    sizes = choose(Catalogue(profiles=(cut,)), Choice(), ())
    assert (sizes.cpu, sizes.cpu_sure, sizes.memory) == (4, 4, 7 * GiB)
    assert sizes.shm <= sizes.memory


def test_without_profiles_it_is_the_whole_machine_with_nothing_to_choose() -> None:
    (only,) = whole(HERE).profiles
    assert only.fixed
    assert (only.cpu.max, only.memory.max) == (4, 8 * GiB)
    assert whole(Machine.observe()).profiles[0].fixed


@pytest.mark.parametrize(
    ("cpu", "who", "count"),
    [(0.5, "ada", 1), (1, "ada", 1), (1.5, "ada", 2), (3, "grace", 3), (4, "ada", 0), (64, "ada", 0)],
)
def test_a_server_stays_on_its_number_of_cores(cpu: float, who: str, count: int) -> None:
    chosen = share([2, 3, 5, 7], cpu, who)
    assert len(set(chosen)) == count
    assert set(chosen) <= {2, 3, 5, 7}


def test_servers_spread_over_the_cores() -> None:
    used = {share(list(range(8)), 1, f"user-{i}")[0] for i in range(30)}
    assert len(used) == 8


def test_what_is_free_and_what_is_not_kept_apart_is_said() -> None:
    around = surroundings(HERE)
    assert [(r.need, r.free, r.total) for r in around.rooms] == [("cpu", 2.7, 4), ("memory", 3 * GiB, 8 * GiB)]
    assert around.hidden == {"shm", "volume"}
    assert "4 GiB at /dev/shm, for everybody" in around.notes[0]


def test_this_machine() -> None:
    seen = Machine.observe()
    assert seen.cores == len(machine.cores()) == len(os.sched_getaffinity(0))
    assert seen.memory >= seen.free_memory > 0
