"""A module trained by `yard.train` against the bare loop that it stands for, in processes of their own, taking turns.

    python tests/bench/training_torch.py [--runs 5]

Both train the same network on the same rows in batches shuffled anew each epoch, with AdamW, on one thread for about
ten seconds. Time is processor time from the first loss to the last, all threads of the process included; memory is the
process's peak (VmHWM) until the model is saved. Before that the two loops take turns in one process, epoch by epoch:
what other processes do to the caches then befalls both alike, so that this ratio holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROWS, COLUMNS, BATCH, EPOCHS = 200_000, 64, 256, 4
MiB = 1024 * 1024

COMMON = """
import json, os, sys, threading, time
import numpy as np, torch
from torch import nn

folder, epochs, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
X, y = np.load(folder + "/X.npy"), np.load(folder + "/y.npy")
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))

class Timed:
    # cross_entropy that writes down the processor time between its first and its last call
    def __init__(self, calls):
        self.calls = self.left = calls

    def __call__(self, output, target):
        if output.requires_grad:
            if self.left == self.calls:
                self.begun = time.process_time()
            self.left -= 1
            if self.left == 0:
                with open(folder + "/seconds", "w") as file:
                    file.write(str(time.process_time() - self.begun))
        return nn.functional.cross_entropy(output, target)

timed = Timed(epochs * -(-len(X) // batch))
"""
BARE = """
X, y = torch.from_numpy(X), torch.from_numpy(y)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
for epoch in range(epochs):
    total = 0.0
    order = torch.randperm(len(X))
    for i in range(0, len(X), batch):
        rows = order[i : i + batch]
        optimizer.zero_grad()
        loss = timed(net(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
        total += loss.item()
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024)
"""
OURS = """
from modelyard.training.options import TorchOptions
from modelyard.training.order import Order, start
from modelyard.training.spec import TrainSpec

options = TorchOptions(epochs=epochs, batch_size=batch, loss=timed)
run = start(Order(TrainSpec.of(net, test_size=0.0), net, (X, y), None, options))
peak, pause = 0, threading.Event()
while run.progress.ended is None and not (run.folder / "model.pkl").exists():
    peak = max(peak, int(open(f"/proc/{run.progress.pid}/status").read().split("VmHWM:")[1].split()[0]) * 1024)
    pause.wait(0.05)
run.wait()
print(peak)
"""


TURNS = """
import copy, pathlib, statistics
from modelyard.training.control import Control
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.torch.batches import ArraySource, Part
from modelyard.training.torch.loop import Fit, Plan
from modelyard.training.torch.rows import ArrayReader
from modelyard.training.torch.task import Task, targets

options = TorchOptions(epochs=1000, batch_size=batch)
source = ArraySource(ArrayReader.of(net).bind(X), targets(y, np.arange(10)))
task = Task("classification", nn.functional.cross_entropy, "cross_entropy", np.arange(10))
own = copy.deepcopy(net)
plan = Plan(own, task, Part(source, np.arange(len(X))), None, options, 0, torch.device("cpu"))
fit = Fit(plan, Journal(pathlib.Path(folder)), Control())
X, y = torch.from_numpy(X), torch.from_numpy(y)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

def bare():
    total = 0.0
    order = torch.randperm(len(X))
    for i in range(0, len(X), batch):
        rows = order[i : i + batch]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
        total += loss.item()

def seconds(epoch):
    begun = time.process_time()
    epoch()
    return time.process_time() - begun

seconds(bare), seconds(fit._epoch)
print(statistics.median(1 / (seconds(bare) / seconds(fit._epoch)) for _ in range(epochs)))
"""


def turns(folder: str, epochs: int) -> float:
    """Our epoch's processor time over the bare one's: the median of `epochs` pairs."""
    command = [sys.executable, "-c", COMMON + TURNS, folder, str(epochs), str(BATCH)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measured(program: str, folder: str) -> tuple[float, float]:
    """Seconds, and MiB at the peak."""
    environment = {**os.environ, "MODELYARD_RUNS": f"{folder}/runs", "OMP_NUM_THREADS": "1"}
    for name in ("MODELYARD_URL", "MODELYARD_TOKEN"):
        environment.pop(name, None)
    command = [sys.executable, "-c", COMMON + program, folder, str(EPOCHS), str(BATCH)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(Path(folder, "seconds").read_text()), int(done.stdout) / MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        X = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype("float32")
        np.save(Path(folder, "X.npy"), X)
        np.save(Path(folder, "y.npy"), X[:, :10].argmax(axis=1))
        print(f"PyTorch, epochs in turns: time {turns(folder, 3 * runs):.3f}", flush=True)
        pairs = [(measured(BARE, folder), measured(OURS, folder)) for _ in range(runs)]
    # What others do on the machine only ever adds: the least is compared, as in training.py.
    bare, ours = ([min(pair[side][i] for pair in pairs) for i in range(2)] for side in range(2))
    medians = [statistics.median(pair[side][0] for pair in pairs) for side in range(2)]
    print(
        f"PyTorch, {ROWS:,} rows, {EPOCHS} epochs, least of {runs}: bare {bare[0]:.1f} s and {bare[1]:.0f} MiB, "
        f"yard.train {ours[0]:.1f} s and {ours[1]:.0f} MiB; time {ours[0] / bare[0]:.3f} "
        f"(of medians {medians[1] / medians[0]:.3f}), memory {ours[1] - bare[1]:+.0f} MiB"
    )


if __name__ == "__main__":
    main()
