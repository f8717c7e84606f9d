"""`python -m modelyard.batch`: one attempt of a run, in its own workload. Exit code 0 where it succeeded, else 1."""

from __future__ import annotations

import sys

from modelyard.batch.order import Order
from modelyard.batch.report import STORAGE_FULL, Reporter, is_full, no_room


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
    except OSError as error:  # before anything of its own could say so, such as where its files are laid out
        if not is_full(error):
            raise
        reporter.fail(STORAGE_FULL, no_room(error))
        return 1
    finally:
        reporter.close()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
