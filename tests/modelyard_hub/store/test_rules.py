"""The rules of writes, by table."""

import pytest

from harness.specs import spec
from modelyard_hub.store import rules


@pytest.mark.parametrize(
    ("history", "traffic", "numbers", "target"),
    [
        ((1,), {1: 100}, (1,), None),
        ((1, 2), {2: 100}, (1, 2), 1),
        ((1, 2), {2: 90, 3: 10}, (1, 2, 3), 2),
        ((1, 2, 3), {3: 100}, (1, 3), 1),
        ((), {1: 50, 2: 50}, (1, 2), None),
        ((1, 2, 1), {1: 100}, (1, 2), 2),
    ],
)
def test_rollback_target(
    history: tuple[int, ...], traffic: dict[int, int], numbers: tuple[int, ...], target: int | None
) -> None:
    assert rules.rollback_target(history, spec(traffic, *numbers)) == target


def test_history_forgets_removed_revisions_and_repeats() -> None:
    assert rules.advance((1, 2, 3), spec({3: 100}, 1, 3)) == (1, 3)
    assert rules.advance((1, 2, 1), spec({1: 100}, 1, 3)) == (1,)
    assert rules.advance((1,), spec({1: 50, 2: 50})) == (1,)
    assert rules.advance((1,), spec({2: 100}, 1, 2)) == (1, 2)


def test_what_runs() -> None:
    def active(history: tuple[int, ...], traffic: dict[int, int], **asked: bool) -> list[int]:
        revisions = [
            {
                "number": n,
                "model": "ada.churn",
                "version": "1",
                **({"active": asked[f"r{n}"]} if f"r{n}" in asked else {}),
            }
            for n in range(1, 6)
        ]
        settled = rules.activate(spec(traffic, revisions=revisions), history)
        return [r.number for r in settled.revisions if r.active]

    assert active((1,), {1: 100}) == [1, 5]
    assert active((1, 2), {2: 100}) == [1, 2, 5]
    assert active((1, 2), {2: 100}, r4=True) == [1, 2, 4, 5]
    assert active((1, 2), {2: 100}, r3=True) == [1, 2, 5]
    assert active((1, 2), {2: 100}, r5=False) == [1, 2, 5]
