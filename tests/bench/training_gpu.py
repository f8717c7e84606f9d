"""A module trained by `yard.train` on a CUDA GPU against the bare loop that it stands for.

    python tests/bench/training_gpu.py [--epochs 5]

Both train the same network on the same rows in batches shuffled anew each epoch, with AdamW. `yard.train` puts rows
that take little of the GPU's memory there; "streamed" are those that it gathers on the CPU, as for more. The bare loop
gathers on the CPU; with all rows on the GPU before it begins it is "bare, near".

First in turns in one process, epoch by epoch: wall time with the GPU waited for. Then once each in a process of its
own, from the first loss to the last, with the most memory that PyTorch had of the GPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 200_000, 64
CASES = [("small", (256, 128), 1024), ("wide", (4096, 4096, 4096), 4096)]
"""Name, widths of the hidden layers, rows of a batch."""
PRECISIONS = ("fp32", "bf16")

COMMON = """
import copy, json, os, pathlib, statistics, sys, time
import numpy as np, torch
from torch import nn

folder, epochs, batch, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
X, y = np.load(folder + "/X.npy"), np.load(folder + "/y.npy")
torch.manual_seed(0)
widths = [64, *json.loads(sys.argv[5])]
layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
net = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
device = torch.device("cuda", 0)

class Timed:
    # cross_entropy that writes down the seconds between its first and its last call, and the GPU memory by then
    def __init__(self, calls):
        self.calls = self.left = calls

    def __call__(self, output, target):
        if output.requires_grad:
            if self.left == self.calls:
                self.begun = time.perf_counter()
            self.left -= 1
            if self.left == 0:
                torch.cuda.synchronize()
                found = [time.perf_counter() - self.begun, torch.cuda.max_memory_allocated()]
                with open(folder + "/found", "w") as file:
                    file.write(json.dumps(found))
        return nn.functional.cross_entropy(output, target)

timed = Timed(epochs * -(-len(X) // batch))

def bare_loop(module, loss_of, resident):
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)
    if resident:
        rows, targets = rows.to(device), targets.to(device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)

    def epoch():
        total = 0.0
        order = torch.randperm(len(rows)).to(rows.device)
        for i in range(0, len(rows), batch):
            chosen = order[i : i + batch]
            inputs, target = rows[chosen].to(device), targets[chosen].to(device)
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
                output = module(inputs)
            loss = loss_of(output.float(), target)
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch
"""
TURNS = """
from modelyard.training.control import Control
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.torch import gpu
from modelyard.training.torch.batches import ArraySource, DeviceSource, Part
from modelyard.training.torch.loop import Fit, Plan
from modelyard.training.torch.rows import ArrayReader
from modelyard.training.torch.task import Task, targets

options = TorchOptions(epochs=1000, batch_size=batch, precision=precision)
source = ArraySource(ArrayReader.of(net).bind(X), targets(y, np.arange(10)))
task = Task("classification", nn.functional.cross_entropy, "cross_entropy", np.arange(10))

def ours(source):
    own = copy.deepcopy(net).to(device)
    plan = Plan(own, task, Part(source, np.arange(len(X))), None, options, 0, device, lag=True)
    return Fit(plan, Journal(pathlib.Path(folder)), Control())._epoch

loss_of = nn.functional.cross_entropy
kinds = {
    "bare": bare_loop(copy.deepcopy(net).to(device), loss_of, False),
    "ours": ours(DeviceSource.of(source, len(X), device, gpu.room(device))),
    "streamed": ours(source),
    "near": bare_loop(copy.deepcopy(net).to(device), loss_of, True),
}
seconds = {kind: [] for kind in kinds}
for number in range(epochs + 1):  # the first is for warming up
    for kind, epoch in kinds.items():
        torch.cuda.synchronize()
        begun = time.perf_counter()
        epoch()
        torch.cuda.synchronize()
        if number:
            seconds[kind].append(time.perf_counter() - begun)
found = {kind: statistics.median(values) for kind, values in seconds.items()}
over = lambda a, b: statistics.median(x / y for x, y in zip(seconds[a], seconds[b]))
print(
    f"epoch of bare {found['bare']:.3f} s; bare, near {found['near']:.3f} s; yard.train {found['ours']:.3f} s, "
    f"{over('ours', 'bare'):.3f} of bare, {over('ours', 'near'):.3f} of bare, near; "
    f"streamed {found['streamed']:.3f} s, {over('streamed', 'bare'):.3f} of bare"
)
"""
BARE = """
epoch = bare_loop(net.to(device), timed, False)
for _ in range(epochs):
    epoch()
"""
OURS = """
from modelyard.training.options import TorchOptions
from modelyard.training.order import Order, start
from modelyard.training.spec import TrainSpec

options = TorchOptions(epochs=epochs, batch_size=batch, loss=timed, precision=precision, device="cuda")
begun = time.perf_counter()
start(Order(TrainSpec.of(net, test_size=0.0), net, (X, y), None, options)).wait()
print(f"{time.perf_counter() - begun:.1f}", end="")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as folder:
        X = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype("float32")
        np.save(Path(folder, "X.npy"), X)
        np.save(Path(folder, "y.npy"), X[:, :10].argmax(axis=1))

        def run(program: str, case: tuple[str, tuple[int, ...], int], precision: str) -> str:
            _, hidden, batch = case
            arguments = [folder, str(epochs), str(batch), precision, str(list(hidden))]
            environment = {**os.environ, "MODELYARD_RUNS": f"{folder}/runs"}
            command = [sys.executable, "-c", COMMON + program, *arguments]
            return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

        for case in CASES:
            for precision in PRECISIONS:
                print(f"{case[0]}, {precision}, in turns: {run(TURNS, case, precision).strip()}", flush=True)
        for case, precision in ((CASES[0], "fp32"), (CASES[1], "bf16")):
            told = []
            for program in (BARE, OURS):
                whole = run(program, case, precision)
                told.append((Path(folder, "found").read_text(), whole))
            print(
                f"{case[0]}, {precision}, [seconds of {epochs} epochs, bytes of the GPU]: bare {told[0][0]}, "
                f"yard.train {told[1][0]}, {told[1][1]} s until it was over",
                flush=True,
            )


if __name__ == "__main__":
    main()
