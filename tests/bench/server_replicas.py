"""Two replicas on two cores over one, through the router, as `modelyard up` runs them.

python tests/bench/server_replicas.py [--seconds 5] [--rounds 5]

A model that takes a millisecond a row is published and asked through Traefik with 32 connections, with one replica and
with two, in turns: router and callers are on the same two cores, so it is the model that has to fill them. Printed:
requests a second of both and the median of the pairs' ratios; what a request costs of the processor with one and with
two, which tells what two free cores would do; how the requests were spread over the two.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from server_load import SCRIPT, prepare, spent

from harness.publishing import make_caller
from harness.stack import Stack
from harness.wait import eventually

NAME = "slow"
_PUBLISH = """
import sys
import numpy as np
from sklearn.neighbors import KNeighborsRegressor
import modelyard as yard
rng = np.random.default_rng(0)
X = rng.normal(size=(20_000, 30))
yard.publish(KNeighborsRegressor(algorithm="brute").fit(X, rng.normal(size=len(X))), sys.argv[1], example=X[:5])
"""
_SCALE = "import sys; import modelyard as yard; yard.endpoint(sys.argv[1]).scale(int(sys.argv[2]))"
ROWS = 32
"""Of a request: they take longer than what is joined to batches, so that one replica gains nothing that two do not."""
BODY = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [ROWS, 30], "data": [0.5] * 30 * ROWS}]}


def library(stack: Stack, code: str, *arguments: str) -> None:
    """What a user runs."""
    subprocess.run([sys.executable, "-c", code, *arguments], env=stack.library("ada"), check=True)


def scaled(stack: Stack, replicas: int, url: str, token: str) -> None:
    """That many replicas run, and the router knows them."""
    library(stack, _SCALE, NAME, str(replicas))
    eventually(lambda: len(stack.model_servers(NAME)) == replicas, what=f"{replicas} replicas", timeout=60)
    headers = {"authorization": f"Bearer {token}"}
    for _ in range(4):
        assert httpx.post(url, json=BODY, headers=headers, timeout=30).status_code == 200


def load(folder: Path, url: str, token: str, seconds: float) -> dict[str, float]:
    """One run of wrk."""
    (folder / "post.lua").write_text(SCRIPT + f'wrk.headers["Authorization"] = "Bearer {token}"\n')
    (folder / "body").write_text(json.dumps(BODY))
    command = ["wrk", "-t1", "-c32", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(folder / "post.lua"), url]
    told = os.environ | {"BODY": str(folder / "body"), "HEAD": ""}
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    assert found, done.stdout
    result: dict[str, float] = json.loads(found.group(1))
    return result


def measured(stack: Stack, folder: Path, seconds: float, rounds: int) -> None:
    """In turns."""
    library(stack, _PUBLISH, NAME)
    caller = make_caller(stack, "ada", NAME)
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for replicas, runs in found.items():
            scaled(stack, replicas, caller.url, caller.token)
            before = [spent(process) for process in stack.model_servers(NAME)]
            one = load(folder, caller.url, caller.token, seconds)
            used = [spent(p) - b for p, b in zip(stack.model_servers(NAME), before, strict=True)]
            one |= {"cpu": sum(used) / max(one["count"], 1) * 1e3, "least": min(used) / sum(used)}
            runs.append(one)
            print(
                f"  {replicas}: {one['rate']:.1f} /s, {one['cpu']:.2f} ms of the processor, {one['bad']} bad",
                flush=True,
            )
    pairs = [two["rate"] / one["rate"] for one, two in zip(found[1], found[2], strict=True)]
    for replicas, runs in found.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{replicas} replica(s): {median['rate']:.1f} /s, p50 {median['p50']:.1f} ms, p99 {median['p99']:.1f} ms, ",
            end="",
        )
        print(f"{median['cpu']:.2f} ms of the processor each; the one with less did {median['least']:.0%}")
    print(f"two over one: {statistics.median(pairs):.2f} (pairs: {', '.join(f'{pair:.2f}' for pair in pairs)})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        stack = Stack(folder / "home").wait_ready()
        try:
            measured(stack, folder, arguments.seconds, arguments.rounds)
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
