"""The form of PublishPanel: what was typed, as options of a publish, as the call that does the same, as a signature."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from modelyard.errors import InvalidInput, ModelyardError
from modelyard.publishing import PublishOptions
from modelyard.widgets.endpoint_view import cut
from modelyard_api.endpoints import Endpoint, Identity
from modelyard_api.names import LABEL_HELP, is_label

EXAMPLE_ROWS = 5
_COLUMNS = 40
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Form:
    """All fields as they were typed. `model` and `example` name variables of the notebook; empty: what was given."""

    model: str = ""
    name: str = ""
    owner: str = ""
    description: str = ""
    example: str = ""
    traffic: str = ""
    cpu: str = ""
    memory: str = ""
    replicas: str = ""
    requirements: str = ""
    environment: str = ""

    @classmethod
    def read(cls, values: Any) -> Form:
        """From what the front end sends; what it does not know is left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: str(v) for k, v in dict(values).items() if k in known})

    def options(self, given: PublishOptions, example: Any) -> PublishOptions:
        """`given`, with what was typed. InvalidInput names the field."""
        lines = tuple(line.strip() for line in self.requirements.splitlines() if line.strip())
        typed: dict[str, Any] = {
            "owner": self.owner,
            "description": self.description,
            "traffic": _number("calls", self.traffic, int),
            "cpu": _number("CPU", self.cpu, float),
            "memory": _number("memory", self.memory, int),
            "replicas": _number("replicas", self.replicas, int),
            "requirements": lines,
            "environment": variables(self.environment),
            "example": example,
        }
        return replace(given, **{k: v for k, v in typed.items() if v is not None and not _empty(v)})

    def code(self, given: PublishOptions, me: Identity | None, training: str) -> str:
        """The call that does what the button does, as far as variables have names; `training`: of further rows."""
        try:
            chosen = self.options(given, None)
        except InvalidInput as error:
            return f"# {error.detail}"
        arguments = [self.model or "model", json.dumps(self.name)]
        example = f"{self.example}[:{EXAMPLE_ROWS}]" if self.example else "example" if given.example is not None else ""
        arguments += [f"example={example}"] if example else []
        arguments += [f"training={training or 'training'}"] if given.training is not None else []
        owner = chosen.owner if me is None or chosen.owner != me.owner else None
        said: dict[str, Any] = {"traffic": chosen.traffic, "owner": owner, "description": chosen.description}
        said |= {"cpu": chosen.cpu, "memory": chosen.memory, "replicas": chosen.replicas}
        said |= {"requirements": None if chosen.requirements is None else list(chosen.requirements)}
        said |= {"environment": None if chosen.environment is None else dict(chosen.environment)}
        arguments += [f"{name}={_literal(value)}" for name, value in said.items() if value is not None]
        line = f"endpoint = yard.publish({', '.join(arguments)})"
        if len(line) <= 88:
            return line
        return "endpoint = yard.publish(\n" + "".join(f"    {a},\n" for a in arguments) + ")"


def variables(typed: str) -> dict[str, str]:
    """Lines of NAME=value. InvalidInput names the line that is none; its value, which may be a secret, is not said."""
    found = {}
    for line in filter(None, map(str.strip, typed.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not _VARIABLE.fullmatch(name.strip()):
            raise InvalidInput(
                f"environment: {name.strip()!r} is no NAME=value",
                remedy="Give one a line, such as REGION=eu; a name has letters, digits and underscores.",
            )
        found[name.strip()] = value.strip()
    return found


def naming(form: Form, me: Identity, found: Endpoint | None) -> dict[str, Any]:
    """What publishing under that name does. `found`: the endpoint of that name that there is."""
    full = f"{form.owner or me.owner}/{form.name}"
    if not form.name:
        return {"ok": False, "exists": False, "says": "Give it a name."}
    if not is_label(form.name):
        return {"ok": False, "exists": False, "says": f"Use {LABEL_HELP}."}
    if found is None:
        return {"ok": True, "exists": False, "says": f"New: {full} gets all calls as soon as it answers."}
    if found.deleting:
        return {"ok": True, "exists": False, "says": f"{full} is being deleted; publishing waits until it is gone."}
    number = max(r.number for r in found.spec.revisions) + 1
    says = f"A further version of {full}, which {found.created_by} made: it becomes revision {number}."
    return {"ok": True, "exists": True, "says": says}


def signature(example: Any, training: Any) -> dict[str, Any]:
    """The columns that the model will take, as read from the example, and its first rows; or why that cannot be."""
    from modelyard.packaging.rows import json_rows
    from modelyard.packaging.signature import check_example, inputs_of, is_table

    try:
        rows = check_example(example)
        inputs = inputs_of(rows, training)
    except ModelyardError as error:
        return {"columns": [], "rows": [], "more": 0, "problem": str(error)}
    shown = inputs[:_COLUMNS]
    values = json_rows(rows, inputs) if is_table(rows) else []
    return {
        "columns": [
            {
                "name": spec.name,
                "kind": f"{spec.kind} ({spec.dtype})",
                "shape": "" if is_table(rows) else " × ".join("any" if n < 0 else str(n) for n in spec.shape),
                "required": spec.required,
                "levels": cut(", ".join(map(str, spec.categories or ())), 80),
                "values": [cut(_said(row[spec.name]), 24) for row in values[:3]],
            }
            for spec in shown
        ],
        "more": len(inputs) - len(shown),
        "problem": "",
    }


def _number(what: str, typed: str, kind: type[int] | type[float]) -> float | int | None:
    if not typed.strip():
        return None
    try:
        return kind(typed)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise InvalidInput(f"{what} is {typed!r}, which is not {wanted}", remedy=f"Give {wanted}.") from None


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, list, dict)) else repr(value)


def _empty(value: Any) -> bool:
    return isinstance(value, (str, tuple, dict)) and not value


def _said(value: Any) -> str:
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
