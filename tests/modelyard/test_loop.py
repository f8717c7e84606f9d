"""The blocking face over the async client: inside a running loop, steps in the caller's thread, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading

import pytest

from modelyard.display import PLAIN, is_live
from modelyard.loop import run


async def test_it_works_inside_a_running_loop_as_a_notebook_has() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert run(answer()) == 42


def test_steps_are_shown_in_the_calling_thread() -> None:
    steps: queue.SimpleQueue[int] = queue.SimpleQueue()
    shown: list[tuple[int, threading.Thread]] = []

    async def work() -> str:
        for i in range(3):
            steps.put(i)
        return "done"

    assert run(work(), steps, lambda i: shown.append((i, threading.current_thread()))) == "done"
    assert shown == [(i, threading.current_thread()) for i in range(3)]


def test_ctrl_c_ends_the_waiting_and_cancels_the_work() -> None:
    began, tidied = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            tidied.set()

    def press() -> None:
        began.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert tidied.wait(5)


def test_a_script_is_not_live_and_the_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLAIN, raising=False)
    assert not is_live()
    monkeypatch.setenv(PLAIN, "0")
    assert is_live()
    monkeypatch.setenv(PLAIN, "1")
    assert not is_live()
