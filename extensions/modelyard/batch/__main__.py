"""`python -m modelyard.batch`: one attempt of a run, in its own workload. Exit code 0 where it succeeded, else 1."""

from __future__ import annotations

import sys

from modelyard.batch.order import Order
from modelyard.batch.report import Reporter


def main() -> int:
    """Run what `run.json` says."""
    order = Order.read()
    reporter = Reporter(order)
    try:
        # Imported here: each kind needs what the other one does not.
        if order.run.spec.kind == "notebook":
            from modelyard.batch.notebook import run
        else:
            from modelyard.batch.scoring import run
        return run(order, reporter)
    finally:
        reporter.close()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
