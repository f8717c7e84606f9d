"""Short ways to write endpoint specs and packages in tests."""

from __future__ import annotations

from typing import Any

from modelyard_api.endpoints import EndpointSpec
from modelyard_hub.runtimes.base import Package


def spec(traffic: dict[int, int] | None = None, *numbers: int, **members: Any) -> EndpointSpec:
    """A spec of ada.churn with revisions `numbers` (version = number; by default those with traffic)."""
    traffic = {1: 100} if traffic is None else traffic
    revisions = [{"number": n, "model": "ada.churn", "version": str(n)} for n in (numbers or sorted(traffic))]
    shares = [{"revision": n, "percent": p} for n, p in traffic.items()]
    return EndpointSpec.model_validate({"revisions": revisions, "traffic": shares, **members})


def packages(*numbers: int) -> dict[int, Package]:
    """A package per revision."""
    return {n: Package(f"/packages/{n}", "ada.churn", str(n)) for n in numbers}
