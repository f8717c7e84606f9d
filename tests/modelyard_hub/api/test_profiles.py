"""What the caller may choose from."""

from __future__ import annotations

import json
from pathlib import Path

from harness import api
from harness.api import API, Yard

PROFILES = [
    {"name": "small", "cpu": 1, "memory": "1Gi"},
    {"name": "team", "cpu": 2, "memory": {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "1Gi"},
     "groups": ["team"]},
]  # fmt: skip


async def test_in_order_and_by_group(tmp_path: Path) -> None:
    (tmp_path / "profiles.json").write_text(json.dumps({"profiles": PROFILES}))
    async with (
        api.yard(tmp_path, profiles=tmp_path / "profiles.json", runtime="kubernetes") as yard,
        yard.client("ada") as ada,
        yard.client("eve") as eve,
    ):
        items = (await ada.get(f"{API}/profiles")).json()["items"]
        assert [item["name"] for item in items] == ["small", "team"]
        assert items[1]["memory"] == {"min": 1 << 30, "default": 2 << 30, "max": 4 << 30, "step": 1 << 30}
        assert [item["name"] for item in (await eve.get(f"{API}/profiles")).json()["items"]] == ["small"]


async def test_on_one_machine_it_is_the_machine(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        (only,) = (await ada.get(f"{API}/profiles")).json()["items"]
        assert only["name"] == "machine"
