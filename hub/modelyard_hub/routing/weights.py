"""Which share of the calls each revision really gets, while some of them are not ready. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Weights = Mapping[int, int]
"""Percent by revision number; only positive ones, summing to 100. Empty: nothing to send calls to."""


def effective(wanted: Weights, last: Weights, ready: Collection[int], stable: Iterable[int] = ()) -> dict[int, int]:
    """The weights to apply now.

    `wanted` as soon as all its revisions are ready. Until then `last`, what is applied now, if all of its are ready.
    Else, what is ready of `last`, of `wanted`, or the newest ready one of `stable` (oldest first): a revision that
    never got traffic never gets any unasked. Nothing ready at all: `last`, else `wanted`, so that callers see one
    unavailable endpoint and no flapping.
    """
    wanted, last = _positive(wanted), _positive(last)
    for candidate in (wanted, last):
        if candidate and all(number in ready for number in candidate):
            return dict(candidate)
    for candidate in (last, wanted):
        if usable := {number: share for number, share in candidate.items() if number in ready}:
            return to_hundred(usable)
    for number in reversed(tuple(stable)):
        if number in ready:
            return {number: 100}
    return dict(last or wanted)


def to_hundred(shares: Weights) -> dict[int, int]:
    """`shares` in proportion, as whole percents that sum to 100: the largest remainders are rounded up."""
    total = sum(shares.values())
    exact = {number: share * 100 / total for number, share in shares.items()}
    whole = {number: int(value) for number, value in exact.items()}
    by_remainder = sorted(exact, key=lambda number: (whole[number] - exact[number], number))
    for number in by_remainder[: 100 - sum(whole.values())]:
        whole[number] += 1
    return _positive(whole)


def _positive(shares: Weights) -> dict[int, int]:
    return {number: shares[number] for number in sorted(shares) if shares[number] > 0}
