"""The offline model service's wire contract: what is scored, with what, to where (`ScoreOptions`), and its report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelyard_api.errors import InvalidInput
from modelyard_api.names import registered_model

MANIFEST = "_manifest.json"
"""Written last, below the output: where it is, the answers are whole."""
PROGRESS = "_progress.json"
"""Written first: what is being scored, so that whoever goes on knows that it is the same."""
REJECTS = "_rejects"
"""The folder of the rows that could not be scored. Readers of Parquet folders pass over names with an underscore."""


class DataFormat(StrEnum):
    """How the rows lie there. `auto` goes by the files' names."""

    auto = "auto"
    parquet = "parquet"
    csv = "csv"
    arrow = "arrow"


class ScoreOptions(BaseModel):
    """How a table is scored; what is left out has a default that suits most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: DataFormat = DataFormat.auto
    sql: Annotated[
        str,
        Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$", description="Variable with the SQLAlchemy URL; data: a query."),
    ] = ""
    keys: Annotated[
        tuple[str, ...] | None, Field(description="Columns kept beside the answers; None: file and row.")
    ] = None
    columns: Annotated[
        tuple[str, ...], Field(description="For a model of arrays: the columns that make its rows, in order.")
    ] = ()
    outputs: Annotated[tuple[str, ...], Field(description="Of the model's outputs; none: all of them.")] = ()
    overwrite: Annotated[bool, Field(description="Replace what an earlier scoring left at the output.")] = False
    max_rejects: Annotated[float, Field(ge=0, le=1, description="Share of a part's rows; more of them ends it.")] = 1.0
    part_rows: Annotated[int, Field(ge=1, description="Rows of one output file, about.")] = 1_000_000
    batch_rows: Annotated[int, Field(ge=0, le=1_000_000, description="Rows scored at a time; 0: by their width.")] = 0
    drift: Annotated[bool, Field(description="Compare the columns with those that the model was trained on.")] = True

    @model_validator(mode="after")
    def _once(self) -> ScoreOptions:
        for what in ("keys", "columns", "outputs"):
            names = getattr(self, what) or ()
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what} names {twice!r} twice")
        return self


UNSURE = "unsure"
"""What is said of a column whose index is above 0.1 as it may be by chance in so few rows."""


class Drifted(BaseModel):
    """One column's drift: its population stability index, and the shares that it is made of, by bin."""

    psi: float
    verdict: Annotated[
        str, Field(description="stable (below 0.1), moved (below 0.25), drifted; unsure: too few rows to tell")
    ]
    bins: tuple[str, ...] = ()
    expected: tuple[float, ...] = ()
    seen: tuple[float, ...] = ()

    def in_words(self) -> str:
        """The index, what is made of it, and the bin that changed most."""
        said = f"{self.psi:.2f}, {self.verdict}"
        changes = [(abs(s - e), b, e, s) for b, e, s in zip(self.bins, self.expected, self.seen, strict=True)]
        if not changes:
            return said
        _, name, expected, seen = max(changes)
        return f"{said}: {name!r} is {seen:.0%} of the rows, {expected:.0%} in training"


class ScoreReport(BaseModel):
    """`_manifest.json`: which files hold the answers, and what came of the rows. `seconds` and `rate` (rows a second)
    are of the process that ended it, of `shards` together from the first one's begin to the last one's end; `resumed`
    rows had been scored by earlier ones. `tag` is in the names of all of its files."""

    format: int = 1
    model: str
    version: str
    flavor: str
    plan: str
    tag: str = ""
    run: str = ""
    files: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    reasons: dict[str, int] = Field(default_factory=dict)
    resumed: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    shards: int = 1
    classes: tuple[Any, ...] | None = None
    drift: dict[str, Drifted] = Field(default_factory=dict)
    drift_note: str = ""
    drift_rows: int = 0

    def in_words(self) -> str:
        """In one line."""
        said = (
            f"{self.scored:,} of {self.rows:,} rows scored, {self.rejected:,} rejected, {self.rate:,.0f} rows a second"
        )
        moved = [
            f"{name} ({found.in_words()})"
            for name, found in self.drift.items()
            if found.verdict not in ("stable", UNSURE)
        ]
        told = [f"drift by population stability index, from 0.25 drifted: {', '.join(moved[:5])}"] if moved else []
        told += [self.drift_note] if self.drift_note else []
        return "; ".join([said, *(told or ["no drift"])])

    @property
    def indexes(self) -> dict[str, float]:
        """The columns' indexes, of which something can be made."""
        return {name: found.psi for name, found in self.drift.items() if found.verdict != UNSURE}


@dataclass(frozen=True)
class ModelRef:
    """A registered model and which of its versions: a number, an alias, or the newest (both empty)."""

    name: str
    version: str = ""
    alias: str = ""

    def __str__(self) -> str:
        if self.alias:
            return f"models:/{self.name}@{self.alias}"
        return f"models:/{self.name}/{self.version or 'latest'}"


def parse_model(text: str, owner: str) -> ModelRef:
    """`models:/churn/3`, `models:/churn@champion`, `models:/churn/latest` or `models:/churn`, each also without
    `models:/`; the owner is added where it is left out. InvalidInput."""
    name, slash, version = text.removeprefix("models:/").partition("/")
    alias = ""
    if not slash:
        name, _, alias = name.partition("@")
    wrong = not name or "/" in version or (slash and not (version.isdigit() or version == "latest"))
    if wrong:
        raise InvalidInput(
            f"{text!r} names no model version", remedy="Such as models:/churn/3 or models:/churn@champion."
        )
    return ModelRef(registered_model(owner, name), "" if version == "latest" else version, alias)


def placed(location: str, at: datetime, run: str) -> str:
    """A location with `{date}` and `{time}` (UTC, such as 2026-11-27 and 0230) and `{run}` filled in, so that each run
    of a schedule has an output of its own."""
    moment = at.astimezone(UTC)
    filled = {"{date}": f"{moment:%Y-%m-%d}", "{time}": f"{moment:%H%M}", "{run}": run}
    for name, value in filled.items():
        location = location.replace(name, value)
    return location
