"""Training from `async` code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier

from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, TrainingStopped

X = np.random.default_rng(0).normal(size=(200, 3))
Y = X[:, 0] > 0


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient("http://127.0.0.1:9", "token", patience=0) as found:
        yield found


async def test_runs_side_by_side_while_the_loop_goes_on(client: AsyncClient) -> None:
    begun = [client.train(LogisticRegression(C=c), X, Y, name="side") for c in (0.1, 1.0)]
    begun.append(client.search(LogisticRegression(), X, Y, space={"C": (0.1, 10, "log")}, trials=2, parallel=1))
    runs = await asyncio.gather(*begun)
    waits = [asyncio.create_task(client.wait(run)) for run in runs]
    assert not any(task.done() for task in waits)
    assert [run.metrics["accuracy"] > 0.9 for run in await asyncio.gather(*waits)] == [True] * 3
    assert runs[2].best_params.keys() == {"C"}


async def test_waiting_has_an_end_and_leaves_the_run_running(client: AsyncClient) -> None:
    slow = SGDClassifier(max_iter=10_000_000, tol=None)
    run = await client.train(slow, X, Y)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.wait(run), 0.2)
    assert run.progress.ended is None
    waiting = asyncio.create_task(client.wait(run))
    await asyncio.to_thread(run.kill)
    with pytest.raises(TrainingStopped):
        await waiting


async def test_what_does_not_fit_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match="test_size"):
        await client.train(LogisticRegression(), X, Y, test_size=2)
    with pytest.raises(InvalidInput, match="trials"):
        await client.search(LogisticRegression(), X, Y, trials=0)
