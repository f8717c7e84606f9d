"""Somebody who calls an endpoint all the time, as another team's service does: with a key, through the router."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import httpx

from harness.wait import eventually


@dataclass(frozen=True)
class Call:
    """One call of an endpoint: a body, and whether an answer is right."""

    url: str
    key: str
    body: object
    right: Callable[[httpx.Response], bool] = lambda answer: answer.status_code == 200

    def __call__(self, body: object = None) -> httpx.Response:
        """Made over a connection of its own."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        content = json.dumps(self.body if body is None else body)
        return httpx.post(self.url, content=content, headers=headers, timeout=30, trust_env=False)

    def known(self) -> Self:
        """Itself, once all replicas know its key, which is new: they are told in a second or two."""
        eventually(lambda: all(self().status_code == 200 for _ in range(10)), timeout=60, what="the key is known")
        return self


@dataclass
class Seen:
    """What callers saw: how many right answers, and what was none."""

    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, wrong: str = "") -> None:
        """One more call."""
        with self._lock:
            if wrong:
                self.wrong.append(wrong)
            else:
                self.answered += 1

    def goes_on(self, calls: int = 5) -> None:
        """Wait until that many more were answered."""
        before = self.answered
        eventually(lambda: self.answered >= before + calls, timeout=60, what=f"answers; wrong: {self.wrong[:3]}")


@contextmanager
def calling(call: Call, *, callers: int = 1, pause: float = 0.05) -> Iterator[Seen]:
    """Callers with one call at a time, `pause` seconds apart, until the block ends. AssertionError where one call was
    not answered, or none was made."""
    seen, done = Seen(), threading.Event()

    def work() -> None:
        while not done.wait(pause):
            try:
                answer = call()
                seen.add("" if call.right(answer) else f"{answer.status_code} {answer.text[:200]}")
            except httpx.TransportError as error:
                seen.add(repr(error))

    threads = [threading.Thread(target=work, name=f"caller {number}") for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        seen.goes_on(1)
        yield seen
        seen.goes_on()
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not seen.wrong, (seen.answered, len(seen.wrong), seen.wrong[:3])
