"""The form that asks an endpoint: made from what its model takes, read back as rows, and the answer as it is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.tables import Inference, Metadata

LONGEST = 16_000
"""Characters of a tensor, or of an answer, that a form shows."""
ROWS = 5


def form(metadata: Metadata, example: Sequence[Any]) -> dict[str, Any]:
    """What is to be filled in. `example`: rows as the package keeps them, empty where they are not known.

    A table gives `fields` and `rows` of texts; a tensor its `shape` and `text`, which is JSON.
    """
    if metadata.layout != "table":
        spec = metadata.inputs[0]
        rows = list(example[:1]) or [_zeros(list(spec["shape"][1:]))]
        text = json.dumps(rows)
        return {
            "layout": "tensor",
            "shape": list(spec["shape"]),
            "datatype": spec["datatype"],
            "text": text if len(text) <= LONGEST else "",
        }
    fields = [_field(spec) for spec in metadata.inputs]
    rows = [{f["name"]: _text(row.get(f["name"])) for f in fields} for row in example[:ROWS]]
    return {"layout": "table", "fields": fields, "rows": rows or [{f["name"]: "" for f in fields}]}


def rows_of(metadata: Metadata, filled: Any) -> Any:
    """What was filled in, as `infer` takes it. InvalidInput names the field."""
    if metadata.layout != "table":
        try:
            return json.loads(filled)
        except ValueError as error:
            raise InvalidInput(f"the input is no JSON: {error}", remedy="Such as [[5.1, 3.5, 1.4, 0.2]].") from error
    specs = {str(spec["name"]): spec for spec in metadata.inputs}
    return [{name: _value(name, row.get(name, ""), spec) for name, spec in specs.items()} for row in filled]


def answer(found: Inference, metadata: Metadata, seconds: float) -> dict[str, Any]:
    """The answer: a table of one line a row, where outputs are small; else JSON."""
    classes = [str(c) for c in metadata.classes]
    count = max((len(values) for values in found.outputs.values()), default=0)
    lines = []
    for i in range(min(count, ROWS)):
        line: dict[str, Any] = {}
        for name, values in found.outputs.items():
            value = _plain(values[i])
            if name == "probabilities" and isinstance(value, list) and len(value) == len(classes):
                line["probabilities"] = dict(zip(classes, value, strict=True))
            else:
                line[name] = value
        lines.append(line)
    text = json.dumps(lines)
    shown: dict[str, Any] = {"lines": lines} if len(text) <= LONGEST else {"lines": [], "text": text[:LONGEST]}
    return shown | {"version": found.version, "ms": round(1000 * seconds, 1), "rows": count}


def _field(spec: Mapping[str, Any]) -> dict[str, Any]:
    said = spec.get("parameters") or {}
    kind = said.get("kind") or ("string" if spec["datatype"] == "BYTES" else "number")
    return {
        "name": str(spec["name"]),
        "kind": kind,
        "whole": kind == "number" and not str(spec["datatype"]).startswith("FP"),
        "required": bool(said.get("required", True)),
        "levels": [str(level) for level in said.get("categories") or ()][:200],
    }


def _value(name: str, text: Any, spec: Mapping[str, Any]) -> Any:
    field = _field(spec)
    said = str(text).strip()
    if not said and (not field["required"] or field["kind"] != "string"):
        if field["required"]:
            raise InvalidInput(f"{name} is empty", remedy="The model needs a value there.")
        return None
    if field["kind"] == "boolean":
        if said.lower() not in ("true", "false"):
            raise InvalidInput(f"{name} is {said!r}", remedy="true or false.")
        return said.lower() == "true"
    if field["kind"] == "number":
        return _number(name, said, field["whole"])
    return str(text)


def _number(name: str, said: str, whole: bool) -> float | int:
    try:
        return int(said) if whole else float(said)
    except ValueError:
        wanted = "a whole number" if whole else "a number"
        raise InvalidInput(f"{name} is {said!r}, which is not {wanted}", remedy=f"Give {wanted} there.") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _zeros(shape: list[int]) -> Any:
    if not shape:
        return 0
    return [_zeros(shape[1:]) for _ in range(max(shape[0], 1))]


def _plain(value: Any) -> Any:
    found = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(found, list):
        return [_plain(v) for v in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found
