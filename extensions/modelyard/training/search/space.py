"""What a search tries: ranges and choices by parameter name, checked before anything is started.

Light: the notebook's process imports this. Optuna's own distributions are known by their fields, not by import.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidInput

_HOW = 'Give (low, high), (low, high, "log"), a list of choices, or a distribution of Optuna\'s.'
_PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both ends are. `log`: drawn by their logarithm.
    `step`: only these steps from `low` on."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether they are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> int | None:
        """How many there are; None: not to be counted."""
        if not self.whole and self.step is None:
            return None
        return int((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def members(self) -> list[Any]:
        """All of them, where they can be counted."""
        step = self.step or 1
        return [self.low + i * step for i in range(self.size or 0)]

    def distribution(self) -> Any:
        """As Optuna has it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """What the estimator gets for what was drawn."""
        return drawn

    def __str__(self) -> str:
        """As it is given in code."""
        if self.step is not None:
            kind = "Int" if self.whole else "Float"
            return f"optuna.distributions.{kind}Distribution({self.low!r}, {self.high!r}, step={self.step!r})"
        return f"({self.low!r}, {self.high!r}" + (', "log")' if self.log else ")")


@dataclass(frozen=True)
class Choice:
    """One of `values`, in no order. Optuna keeps plain ones only: others are drawn by their text."""

    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.values)

    def members(self) -> list[Any]:
        """What can be drawn."""
        if all(isinstance(value, _PLAIN) for value in self.values):
            return list(self.values)
        return [repr(value) for value in self.values]

    def distribution(self) -> Any:
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.members())

    def value(self, drawn: Any) -> Any:
        """What the estimator gets for what was drawn."""
        return self.values[self.members().index(drawn)]

    def __str__(self) -> str:
        """As it is given in code."""
        return repr(list(self.values))


Space = Mapping[str, Range | Choice]


def space_of(given: Mapping[str, Any], estimator: Any) -> dict[str, Range | Choice]:
    """What was given, checked against the parameters of `estimator`. InvalidInput names the one that is wrong."""
    if not isinstance(given, Mapping) or not given:
        raise InvalidInput("the space is empty" if isinstance(given, Mapping) else f"space={given!r}", remedy=_HOW)
    known = list(estimator.get_params(deep=True))
    for name in given:
        if name not in known:
            raise InvalidInput(f"the estimator has no parameter {name!r}", remedy=_nearest(name, known))
    return {name: _parse(name, value) for name, value in given.items()}


def combinations(space: Space) -> int | None:
    """How many there are; None when they cannot be counted."""
    sizes = [part.size for part in space.values()]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _nearest(name: str, known: Sequence[str]) -> str:
    same = [k for k in known if k.rpartition("__")[2] == name]
    close = same or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = [k for k in known if "__" not in k] or known
    return f"It has: {', '.join(sorted(shown))}."


def _parse(name: str, given: Any) -> Range | Choice:
    if isinstance(given, (Range, Choice)):
        return given
    if hasattr(given, "choices"):
        return _choice(name, given.choices)
    if hasattr(given, "low") and hasattr(given, "high"):
        step = getattr(given, "step", None)
        return _range(name, given.low, given.high, log=bool(getattr(given, "log", False)), step=step)
    if isinstance(given, list):
        return _choice(name, given)
    if isinstance(given, tuple) and len(given) == 2:
        return _range(name, *given)
    if isinstance(given, tuple) and len(given) == 3 and given[2] == "log":
        return _range(name, given[0], given[1], log=True)
    raise InvalidInput(f"the space of {name!r} is {given!r}", remedy=_HOW)


def _choice(name: str, values: Sequence[Any]) -> Choice:
    found = tuple(_own(value) for value in values)
    if not found:
        raise InvalidInput(f"the space of {name!r} has no choices", remedy="Give at least one.")
    texts = [repr(value) for value in found]
    double = next((text for text in texts if texts.count(text) > 1), None)
    if double is not None:
        raise InvalidInput(f"the space of {name!r} has {double} twice", remedy="Give each choice once.")
    return Choice(found)


def _range(name: str, low: Any, high: Any, *, log: bool = False, step: float | None = None) -> Range:
    low, high = _own(low), _own(high)
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(end):
            raise InvalidInput(
                f"the space of {name!r} has {end!r} as an end, which is no number",
                remedy="Give two numbers, or a list of choices.",
            )
    if low >= high:
        raise InvalidInput(f"the space of {name!r} is empty: {low!r} is not below {high!r}", remedy="Give (low, high).")
    if log and low <= 0:
        raise InvalidInput(
            f"the space of {name!r} begins at {low!r}, which has no logarithm",
            remedy="Begin above 0, or leave out log.",
        )
    return Range(low, high, log, None if step == 1 and isinstance(low, int) else step)


def _own(value: Any) -> Any:
    """A number of numpy's as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
