"""The local runtime with the real model server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import httpx

from contracts.runtime import gone, ready, until
from harness.local import LocalYard
from harness.packages import write_skops
from modelyard_api.access import Access, KeyHash
from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.base import Package
from modelyard_hub.runtimes.local import LocalOptions

KEY = "my_1_secret"


async def test_a_package_is_served_to_who_has_a_key(yard: LocalYard, tmp_path: Path) -> None:
    await yard.runtime.close()
    yard.options = LocalOptions(timing=replace(yard.options.timing, start_timeout=60.0, probe_timeout=5.0))
    await yard.reopen()
    write_skops(tmp_path / "package")
    key = KeyHash(id="1", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    server = yard.server(
        package=Package(str(tmp_path / "package"), "ada.churn", "7"),
        resources=Resources(memory=512 * MiB),
        files={"access.json": Access(owner="ada", keys=(key,)).model_dump_json()},
        labels={"modelyard.dev/revision": "3"},
    )
    await yard.runtime.apply(server)
    address = (await until(yard, server.name, ready(1))).replicas[0].address
    async with httpx.AsyncClient(base_url=str(address), trust_env=False, timeout=30) as client:
        row = {"dataframe_records": [{"weight": 2.5, "age": 3, "island": "north"}]}
        assert (await client.post("/invocations", json=row)).status_code == 401
        answer = await client.post("/invocations", json=row, headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.text)["predictions"][0] in ("no", "yes")
        assert answer.headers["X-Modelyard-Revision"] == "3"
    await yard.runtime.delete(server.name)
    await gone(yard, server.name)
