"""Scoring a table with a registered model."""

from __future__ import annotations

from modelyard.batch.order import Order
from modelyard.batch.report import Reporter


def run(order: Order, reporter: Reporter) -> int:
    """The exit code."""
    reporter.fail("Unsupported", f"runs of kind {order.run.spec.kind!r} cannot be executed by this version")
    return 1
