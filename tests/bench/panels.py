"""What panels cost: messages and bytes to the browser, an output notebook of papermill, the time until one is drawn,
and until a stop is confirmed in it.

    python tests/bench/panels.py       messages and papermill; `run.py` adds the browser, on its own Modelyard
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import papermill
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.chromium import browser
from harness.lab import Lab, put_notebook, sign_in
from harness.stack import Stack

STEPS = 10_000
FAST = f"""
import modelyard as yard, numpy as np
from sklearn.ensemble import GradientBoostingClassifier
X = np.random.default_rng(0).normal(size=(400, 4)); y = X[:, 0] > 0
run = yard.train(GradientBoostingClassifier(n_estimators={STEPS}, max_depth=1), X, y, name="fast")
"""
SLOW = """
import modelyard as yard
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
run = yard.train(MLPClassifier((256, 256), max_iter=2000, n_iter_no_change=2000), *load_digits(return_X_y=True))
"""
PANELS = "yard.TrainPanel(run=run)\nyard.RunsTable()"


def messages(folder: Path) -> None:
    """A run of many fast steps, watched by what its panel sends."""
    os.environ |= {"MODELYARD_RUNS": str(folder / "runs"), "MODELYARD_PLAIN": "0"}
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(FAST)
        sent, last = _listen(client)
        worst = max(sum(1 for at, _ in sent if start <= at < start + 1.0) for start, _ in sent)
        largest = max(size for _, size in sent[1:])
        print(f"{STEPS} fast steps: {len(sent)} messages, at most {worst} in a second, largest {largest} bytes")
        print(f"  the panel's last word: {last.get('state')}, {last.get('done')} of {last.get('of')}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        del os.environ["MODELYARD_PLAIN"]


def _listen(client: BlockingKernelClient) -> tuple[list[tuple[float, int]], dict[str, Any]]:
    """When messages of a panel came, and their size; the last state that they told."""
    sent: list[tuple[float, int]] = []
    last: dict[str, Any] = {}
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=60)
        state = message["content"].get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
        if "view" not in state:
            continue
        size = len(json.dumps(message["content"])) + sum(len(b) for b in message["buffers"])
        sent.append((time.monotonic(), size))
        last = state["view"]
        if last["state"] not in ("running", "paused"):
            return sent, last
    raise TimeoutError("the run did not end")


def papermill_size(folder: Path) -> None:
    """Bytes that panels add to an output notebook."""
    sizes = []
    for name, cells in (("without", [SLOW.replace("2000", "20")]), ("with", [SLOW.replace("2000", "20"), PANELS])):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        source = folder / f"{name}.ipynb"
        nbformat.write(notebook, source)
        papermill.execute_notebook(str(source), str(folder / "out.ipynb"), progress_bar=False, log_output=False)
        sizes.append((folder / "out.ipynb").stat().st_size)
    print(f"output of papermill: {sizes[0]} bytes without panels, {sizes[1]} with them, {sizes[1] - sizes[0]} more")


def drawn(stack: Stack, repeats: int = 3) -> None:
    """Seconds in Chromium from running the cell that imports the library to a drawn panel, and from a click on Stop to
    the panel's word."""
    first, stops = [], []
    put_notebook(stack, "bench.ipynb", [SLOW])
    with browser(stack.url) as context:
        page = context.new_page()
        sign_in(page, stack)
        lab = Lab(page, "bench.ipynb")
        for _ in range(repeats):
            lab.open()
            lab.restart_kernel()
            start = time.perf_counter()
            lab.run(0, ends=False)
            panel = page.get_by_test_id("modelyard-train").first
            stop = panel.get_by_role("button", name="Stop", exact=True)
            stop.wait_for(timeout=60_000)
            first.append(time.perf_counter() - start)
            panel.get_by_text("of 2000").first.wait_for(timeout=60_000)
            start = time.perf_counter()
            stop.click()
            panel.locator(".my-state", has_text="stop").first.wait_for(timeout=10_000)
            stops.append(time.perf_counter() - start)
            panel.locator(".my-state", has_text="stopped").first.wait_for(timeout=60_000)
    print(f"import to a drawn panel in Chromium, the start of a training included: median {median(first):.1f} s")
    print(f"stop to its confirmation in the panel: median {median(stops):.2f} s, worst {max(stops):.2f} s")


def main() -> None:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        messages(Path(folder))
        papermill_size(Path(folder))


if __name__ == "__main__":
    main()
