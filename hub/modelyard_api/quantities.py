"""Amounts of memory and disk, as people write them and as they are counted: `2Gi` is 2147483648 bytes."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_FACTORS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_TEXT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(Ki|Mi|Gi|Ti|)B?")


def parse_bytes(value: Any) -> Any:
    """Bytes of a text such as `512Mi` or `1.5 GiB`; ValueError when it is none. What is no text stays as it is."""
    if isinstance(value, bool):
        raise ValueError("it is no amount; write bytes, or such as '512Mi' or '2Gi'")
    if not isinstance(value, str):
        return value
    found = _TEXT.fullmatch(value.strip())
    if found is None:
        raise ValueError(f"{value!r} is no amount; write bytes, or such as '512Mi' or '2Gi'")
    return round(float(found[1]) * _FACTORS[found[2]])


def show_bytes(count: float) -> str:
    """Such as `512 MiB`, `1.5 GiB`."""
    unit = next((u for u in ("Ti", "Gi", "Mi", "Ki") if count >= _FACTORS[u]), "")
    return f"{count / _FACTORS[unit]:.4g} {unit}B"


def quantity(count: int) -> str:
    """As Kubernetes writes it, exactly: `2Gi`, or plain bytes."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count and count % _FACTORS[unit] == 0:
            return f"{count // _FACTORS[unit]}{unit}"
    return str(count)


SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_TEXT.pattern}$"}]}
Bytes = Annotated[int, BeforeValidator(parse_bytes), WithJsonSchema(SCHEMA)]
"""Bytes, given as a number or as text."""
