"""What may be chosen of an amount: from, to, in which steps."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from modelyard_api.quantities import SCHEMA, Bytes, show_bytes

N = TypeVar("N", int, float)
FIELDS = ("cpu", "memory", "shm", "gpus", "volume")
"""The amounts of a profile."""


class Strict(BaseModel):
    """Immutable; refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bound(Strict, Generic[N]):
    """The amounts that may be chosen: from `min` to `max` in steps. A single number is an amount that is fixed."""

    min: Annotated[N, Field(ge=0)]
    default: N
    max: N
    step: Annotated[N, Field(gt=0)]

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        fixed = not isinstance(value, (dict, BaseModel))
        return {"min": value, "default": value, "max": value, "step": 1} if fixed else value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.default <= self.max:
            raise ValueError("`default` must lie between `min` and `max`")
        if not all(self.on_step(value) for value in (self.default, self.max)):
            raise ValueError("`default` and `max` must be whole steps away from `min`")
        return self

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.min == self.max

    def on_step(self, value: float) -> bool:
        """Whether it is whole steps away from `min`."""
        steps = (value - self.min) / self.step
        return abs(steps - round(steps)) < 1e-6

    def at_most(self, value: float) -> N:
        """The largest allowed amount that is no more than `value`, which is at least `min`."""
        steps = int((min(value, self.max) - self.min) / self.step + 1e-6)
        return self.min + steps * self.step


class _Scalar:
    """In the JSON schema: a bound, or a single amount."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(core)]}


class Cores(Bound[float]):
    """CPUs, from `min` to `max` in steps."""


class Amount(Bound[Bytes]):
    """Bytes, as a number or such as `512Mi`, from `min` to `max` in steps."""


class Count(Bound[int]):
    """Whole devices, from `min` to `max` in steps."""


CpuBound = Annotated[Cores, _Scalar({"type": "number", "exclusiveMinimum": 0})]
BytesBound = Annotated[Amount, _Scalar(SCHEMA)]
CountBound = Annotated[Count, _Scalar({"type": "integer", "minimum": 0})]


def show(field: str, amount: float) -> str:
    """An amount of a field as people read it."""
    if field in ("memory", "shm", "volume"):
        return show_bytes(amount)
    unit = {"cpu": "CPU", "gpus": "GPU"}[field]
    return f"{amount:g} {unit}{'' if amount == 1 else 's'}"


def allowed(field: str, bound: Bound[Any]) -> str:
    """What a bound allows, as people read it."""
    if bound.fixed:
        return f"exactly {show(field, bound.min)}"
    return f"{show(field, bound.min)} to {show(field, bound.max)} in steps of {show(field, bound.step)}"
