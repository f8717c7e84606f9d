from __future__ import annotations

import asyncio

from modelyard_hub.backoff import Backoff
from modelyard_hub.reconcile.queue import WorkQueue


async def test_a_key_waits_once_however_often_it_is_added() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abaab":
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    queue.done("a")
    queue.add("c")
    assert await queue.get() == "c"


async def test_a_key_added_during_its_work_comes_again_only_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    queue.done("a")
    assert await queue.get() == "a"


async def test_the_earliest_time_asked_for_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_later("a", 0.02)
    queue.add_later("a", 60.0)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.done("a")
    queue.add_later("a", 60.0)
    queue.add("a")
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.close()


async def test_failures_wait_longer_until_forgiven() -> None:
    queue: WorkQueue[str] = WorkQueue(Backoff(first=1.0, cap=3.0, jitter=0.0))
    assert [queue.retry("a"), queue.retry("a"), queue.retry("a")] == [1.0, 2.0, 3.0]
    queue.forgive("a")
    assert queue.retry("a") == 1.0
    queue.close()


def test_backoff_doubles_to_its_cap_and_jitter_only_shortens() -> None:
    plain = Backoff(jitter=0.0)
    assert [plain.delay(n) for n in (0, 1, 2, 3, 7, 1000)] == [0.0, 1.0, 2.0, 4.0, 60.0, 60.0]
    assert all(45.0 <= Backoff().delay(99) <= 60.0 for _ in range(100))
