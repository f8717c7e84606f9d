"""`python -m modelyard.batch.scoring DATA OUTPUT --package FOLDER`: score without a hub, or one shard of many.

Exit codes: 0 done, 1 failed, 2 wrong use, 143 stopped.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from modelyard.batch.scoring.engine import Order, score
from modelyard.batch.scoring.state import Stopped
from modelyard_api.errors import ModelyardError
from modelyard_api.scoring import ScoreOptions


def main() -> int:
    parser = argparse.ArgumentParser("python -m modelyard.batch.scoring", description=__doc__)
    parser.add_argument("data")
    parser.add_argument("output")
    parser.add_argument("--package", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="package", help="what the report calls it")
    parser.add_argument("--version", default="1")
    parser.add_argument("--options", default="{}", metavar="JSON", help="see ScoreOptions")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="the share I, from 0, of N")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    given = parser.parse_args()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        index, _, of = given.shard.partition("/")
        order = Order(
            data=given.data,
            output=given.output,
            package=given.package,
            model=given.model,
            version=given.version,
            options=ScoreOptions.model_validate(json.loads(given.options)),
            shard=(int(index), int(of)),
            threads=given.threads,
            tell=lambda progress: print(progress.in_words(), flush=True),  # noqa: T201
            stopped=stopped.is_set,
        )
    except (ValueError, ValidationError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    try:
        report = score(order)
    except Stopped as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 143
    except ModelyardError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(report.in_words() if report is not None else "this shard is done, others are not", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
