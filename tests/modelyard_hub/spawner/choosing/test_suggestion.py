"""Which size would have done."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_api.activity import Peaks
from modelyard_api.profiles import Catalogue
from modelyard_hub.spawner.choosing.suggestion import suggest
from modelyard_hub.spawner.choosing.used import Session

GiB = 1 << 30
SHM = {"min": "64Mi", "default": "64Mi", "max": "2Gi", "step": "64Mi"}
PROFILES = Catalogue.model_validate(
    {
        "profiles": [
            {"name": "gpu", "cpu": 4, "memory": "16Gi", "gpus": 1},
            {"name": "large", "cpu": 8, "shm": SHM,
             "memory": {"min": "8Gi", "default": "16Gi", "max": "32Gi", "step": "4Gi"}},
            {"name": "small", "title": "Small", "cpu": {"min": 1, "default": 2, "max": 2, "step": 1},
             "memory": {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "1Gi"}, "shm": SHM},
        ]
    }
).profiles  # fmt: skip


def session(used: float, /, cpu: float = 1.0, shm: float = 0.0, **had: Any) -> Session:
    sizes: dict[str, Any] = {"profile": "large", "cpu": 8, "memory": 16 * GiB, "shm": GiB, **had}
    sizes["cpu"] = sizes.pop("cpus", 8)
    return Session(started="", peaks=Peaks(cpu=cpu, memory=int(used * GiB), shm=int(shm * GiB)), **sizes)


def test_a_smaller_profile_would_do() -> None:
    found = suggest(PROFILES, [session(1.4)])
    assert found is not None
    assert found.text == "Last time: 1.4 of 16 GiB of memory, 1 of 8 CPUs. Small with 2 CPUs and 2 GiB would do."
    assert (found.profile, found.choice) == ("small", {"cpu": 2, "memory": 2 * GiB, "shm": 64 << 20})


def test_all_of_the_last_sessions_count() -> None:
    found = suggest(PROFILES, [session(9), session(1.4), session(2)])
    assert found is None, "12 GiB of large are hardly less than 16"
    found = suggest(PROFILES, [session(2.9), session(1.4)])
    assert found is not None
    assert found.text.startswith("The last 2 times at most: 2.9 of 16 GiB of memory")
    assert found.choice["memory"] == 4 * GiB


def test_what_was_nearly_full_gets_more() -> None:
    small = {"profile": "small", "cpus": 2, "memory": 4 * GiB}
    found = suggest(PROFILES, [session(3.9, 2, **small)])
    assert found is not None
    assert found.text == (
        "Last time: 3.9 of 4 GiB of memory, 2 of 2 CPUs: nearly full. large with 8 CPUs and 8 GiB has room."
    )
    assert (found.profile, found.choice) == ("large", {"memory": 8 * GiB, "shm": 64 << 20})


def test_shared_memory_too() -> None:
    found = suggest(PROFILES, [session(6, cpu=7, shm=0.95)])
    assert found is not None
    assert found.choice["shm"] == 2 * GiB


@pytest.mark.parametrize(
    "sessions",
    [
        [],
        [session(0.01)],  # nothing was done in it
        [session(12, cpu=7)],  # it fits
        [session(15, memory=16 * GiB, gpus=2)],  # nothing has two GPUs
        [session(31, memory=32 * GiB)],  # there is nothing larger
        [session(1, cpus=4, profile="gpu", memory=2 * GiB, gpus=1)],  # the only one with a GPU
    ],
    ids=range(6),
)
def test_nothing_is_said_where_nothing_fits_better(sessions: list[Session]) -> None:
    assert suggest(PROFILES, sessions) is None


def test_cpus_that_were_busy_are_kept() -> None:
    found = suggest(PROFILES, [session(2, cpu=6.0)])
    assert found is None, "only large has as many"
