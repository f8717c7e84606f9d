"""The shards of a run that scores: the first one says with what they score, and the last one that ends adds all up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.batch.scoring.place import Place, put_text
from modelyard.batch.scoring.state import (
    SHARDS,
    Claim,
    Stopped,
    begin,
    document,
    finished,
    overtaken,
    refuse,
    sweep,
)
from modelyard_api.errors import Conflict
from modelyard_api.scoring import ScoreReport

_GLANCE = 0.3


@dataclass(frozen=True)
class Together:
    """A shard among those of one attempt of a run."""

    index: int
    shards: int
    run: str
    attempt: int
    overwrite: bool
    stopped: Callable[[], bool]

    def file(self, what: object) -> str:
        """What one of them tells the others. Their own: nobody whose output was taken over writes over it."""
        return f"{SHARDS}/{self.run}-{self.attempt}-{what}.json"


def agreed(place: Place, order: Together) -> tuple[ScoreReport | None, dict[str, Any] | None]:
    """The run's report where it has ended, else what the first shard says: `version`, `files` and more. All but the
    first one wait for that. Conflict where the output is no longer the run's; Stopped."""
    while True:
        report, ready = finished(place), document(place, order.file("ready"))
        if report is not None and report.run == order.run:
            return report, None
        if ready is not None:
            return None, ready
        if order.index == 0:
            return None, None
        overtaken(place, order.run)
        if report is not None and not order.overwrite:
            refuse(report)
        if order.stopped():
            raise Stopped("it was stopped before it began", remedy="Started again, it goes on from where it is.")
        time.sleep(_GLANCE)


def begin_shard(
    place: Place, plan: str, facts: Mapping[str, Any], order: Together, prepare: Callable[[Claim], Mapping[str, Any]]
) -> tuple[ScoreReport | None, Claim]:
    """Claim the output together with the other shards of a run: the first one prepares it, and the others wait for
    that, so that none clears away what another one has made. As `state.begin`; also Conflict where what the first one
    saw is there no more. `prepare`: what it does before the others begin, and what it tells them."""
    report, ready = agreed(place, order)
    if report is not None:
        return report, Claim(place, "")
    if ready is not None:
        if ready["plan"] != plan:
            raise Conflict("the data changed while the shards began", remedy="Score them once they stay as they are.")
        claim = Claim(place, ready["claim"])
        claim.check()
        return None, claim
    ended, claim = begin(place, plan, facts, run=order.run, overwrite=order.overwrite)
    if ended is None:
        sweep(place)
        told = prepare(claim)
        claim.check()
        said = json.dumps({**told, "plan": plan, "claim": claim.text})
        if not place.swap(order.file("ready"), said, None):  # the first shard was started again meanwhile, and said so
            return begin_shard(place, plan, facts, order, prepare)
    return ended, claim


def tell_shard(place: Place, order: Together, times: Mapping[str, float]) -> list[dict[str, float]] | None:
    """Say that a shard is done; what all of them say, where none is missing."""
    names = [order.file(index) for index in range(order.shards)]
    put_text(place, json.dumps(dict(times)), names[order.index])
    told = [one for name in names if (one := document(place, name)) is not None]
    return told if len(told) == order.shards else None
