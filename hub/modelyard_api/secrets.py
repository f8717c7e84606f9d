"""Secrets: named values of a user or a group that runs get, and that nobody reads back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from modelyard_api.bounds import Strict
from modelyard_api.redact import SHORTEST

LONGEST = 32 * 1024
"""Characters of a value."""


class SecretWrite(Strict):
    """A value, to be kept under a name."""

    value: Annotated[SecretStr, Field(description=f"{SHORTEST} to {LONGEST} characters; nobody reads it back.")]
    description: Annotated[str, Field(max_length=500)] = ""

    @field_validator("value")
    @classmethod
    def _fits(cls, value: SecretStr) -> SecretStr:
        length = len(value.get_secret_value())
        if not SHORTEST <= length <= LONGEST:
            raise ValueError(f"a value has {SHORTEST} to {LONGEST} characters, this one has {length}")
        if "\0" in value.get_secret_value():
            raise ValueError("a value cannot hold NUL")
        return value


class Secret(Strict):
    """A secret without its value. `version` counts the values that it has had."""

    owner: str
    name: str
    description: str = ""
    version: int
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime


class SecretList(Strict):
    """By owner and name."""

    items: tuple[Secret, ...]
