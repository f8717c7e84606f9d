"""What the machine says of a server: its limits as they are now."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.activity import processes
from modelyard.activity.processes import Meter

TWO = {"memory.max": str(2 << 30), "cpu.max": "150000 100000"}
ONE = {
    "memory/memory.limit_in_bytes": str(2 << 30), "cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000",
}  # fmt: skip
NONE = {"memory.max": "max", "cpu.max": "max 100000"}
HUGE = {"memory/memory.limit_in_bytes": str(2**63 - 4096), "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}


@pytest.mark.parametrize(
    ("files", "memory", "cpu"), [(TWO, 2 << 30, 1.5), (ONE, 2 << 30, 1.5), (NONE, 1 << 30, 1.0), (HUGE, 1 << 30, 1.0)]
)
def test_a_container_that_got_another_size_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], memory: int, cpu: float
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(processes, "_CGROUP", tmp_path)
    for name, value in {"CPU_LIMIT": "1.0", "MEM_LIMIT": str(1 << 30), "MODELYARD_SHM": str(64 << 20)}.items():
        monkeypatch.setenv(name, value)
    meter = Meter(60.0)
    meter.sample()
    assert (meter.use.memory_limit, meter.use.cpu_limit) == (memory, cpu)


def test_a_process_among_others_has_no_limits_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(str(2 << 30))
    monkeypatch.setattr(processes, "_CGROUP", tmp_path)
    monkeypatch.delenv("MODELYARD_SHM", raising=False)
    monkeypatch.setenv("MEM_LIMIT", str(1 << 30))
    meter = Meter(60.0)
    meter.sample()
    assert meter.use.memory_limit == 1 << 30
