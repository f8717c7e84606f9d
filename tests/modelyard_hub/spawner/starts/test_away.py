"""What is asked again of an API server that does not answer, or has just begun to."""

from __future__ import annotations

import json

import aiohttp
import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from modelyard_hub.spawner.starts import away


def refusal(status: int, said: str = "no") -> ApiException:
    error = ApiException(status=status, reason="Forbidden")
    error.body = json.dumps({"message": said})
    return error


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "_last", {})  # one for all of a process


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (aiohttp.ServerDisconnectedError(), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (refusal(503), True),
        (refusal(429), True),
        (refusal(403), False),
        (refusal(409), False),
        (refusal(422), False),
        (ValueError(), False),
    ],
)
def test_no_answer_passes_and_a_refusal_does_not(error: Exception, passes: bool) -> None:
    assert away.again(error, now=100.0) is passes


def test_one_that_has_just_begun_refuses_what_it_will_allow() -> None:
    assert away.again(refusal(503), now=100.0)
    assert away.again(refusal(403, "pods is forbidden: User cannot list resource"), now=101.0)
    assert not away.again(refusal(403, "forbidden: exceeded quota: team, requested: a"), now=101.0)
    assert not away.again(refusal(403), now=100.0 + away.SETTLES)
    assert not away.again(refusal(409), now=101.0)


def test_its_own_words_are_kept() -> None:
    assert away.words(refusal(403, "pods is forbidden")) == "pods is forbidden"
    assert away.words(ApiException(status=503, reason="Service Unavailable")) == "Service Unavailable"
    assert away.words(TimeoutError()) == "TimeoutError()"
