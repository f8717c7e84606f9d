"""What a request to MLflow changes: whose model, experiment, run. Pure.

Everything that is not known to read is a change, and a change whose subject is not known here is for administrators:
an MLflow that learns new routes opens nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from modelyard_api.errors import Forbidden, MalformedRequest

_API = re.compile(r"/mlflow/(?:ajax-)?api/\d\.\d/?(mlflow.*)")
_READS = re.compile(
    r"mlflow/(?:(?:experiments|runs|model-versions|registered-models|logged-models|traces|datasets|issues)/search"
    r"|experiments/search-datasets|registered-models/get-latest-versions|artifacts/presigned-download-url"
    r"|traces/(?:batchGetInfos|metrics|calculate-filter-correlation))"
)
_ARTIFACTS = "mlflow-artifacts/artifacts"
_GRAPHQL = "/mlflow/graphql"
"""Its mutations read, too: they search."""


class Kind(StrEnum):
    """What a change may be about; the names are for messages."""

    model = "model"
    experiment_name = "experiment"
    experiment = "experiment with the id"
    run = "run"
    logged_model = "logged model"
    trace = "trace"


@dataclass(frozen=True)
class Subject:
    """One thing that a request changes. `id` is a name for `model` and `experiment_name`."""

    kind: Kind
    id: str


@dataclass(frozen=True)
class Rule:
    """Where the paths of `pattern` say what they change: in its group `id`, or in members of the body or the query.

    One of the members without a `?` before its name is required.
    """

    pattern: str
    path: Kind | None = None
    body: Mapping[str, Kind] = field(default_factory=dict)
    query: Mapping[str, Kind] = field(default_factory=dict)


_BY_EXPERIMENT = {"experiment_id": Kind.experiment}
_BY_RUN = {"run_id": Kind.run, "run_uuid": Kind.run, "?model_id": Kind.logged_model}
_RULES = (
    Rule(r"mlflow/(registered-models|model-versions)/.+", body={"name": Kind.model, "?new_name": Kind.model}),
    Rule(r"mlflow/experiments/create", body={"name": Kind.experiment_name}),
    Rule(
        r"mlflow/experiments/(update|delete|restore|set-experiment-tag|delete-experiment-tag)",
        body={**_BY_EXPERIMENT, "?new_name": Kind.experiment_name},
    ),
    Rule(r"mlflow/runs/create", body=_BY_EXPERIMENT),
    Rule(r"mlflow/runs/(?!create).+", body=_BY_RUN),
    Rule(r"mlflow/logged-models", body=_BY_EXPERIMENT),
    Rule(r"mlflow/logged-models/(?P<id>[^/]+)(/.*)?", path=Kind.logged_model),
    Rule(r"mlflow/traces(/delete-traces)?", body=_BY_EXPERIMENT),
    Rule(r"mlflow/traces/link-to-run", body={"run_id": Kind.run}),
    Rule(r"mlflow/traces/(?!link-)(?P<id>[^/]+)(/.*)?", path=Kind.trace),
    Rule(r"mlflow/artifacts/presigned-upload-url", body={"run_id": Kind.run, "model_id": Kind.logged_model}),
    Rule(r"mlflow/upload-artifact", query={"run_uuid": Kind.run}),
    Rule(r"mlflow-artifacts/(artifacts|mpu/[a-z]+)/(?P<id>\d+)/.+", path=Kind.experiment),
)


def changes(method: str, path: str) -> bool:
    """Whether a request may change something."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    return not (path == _GRAPHQL or (method == "POST" and _READS.fullmatch(_tail(path))))


def rule_of(path: str) -> Rule:
    """The rule for a change; Forbidden where nobody but administrators may make it."""
    tail = _tail(path)
    for rule in _RULES:
        if re.fullmatch(rule.pattern, tail):
            return rule
    raise Forbidden(f"no owner is known for what {path} changes, so it is for administrators")


def private(path: str, query: bytes) -> bool:
    """Whether a request asks for what lies beside MLflow's artifacts: inputs and outputs of runs, which are for their
    owners, by the hub service."""
    tail = _tail(path)
    if not tail.startswith(_ARTIFACTS):
        return False
    named = [tail.removeprefix(_ARTIFACTS), *parse_qs(query.decode("latin-1")).get("path", [])]
    return any(_is_of_runs(name) for name in named)


def leads_to_runs(body: bytes) -> bool:
    """Whether the body of a change puts artifacts where those of runs are."""
    try:
        given = json.loads(body)
    except ValueError:
        return False
    places = [given.get(name) for name in ("artifact_location", "source")] if isinstance(given, dict) else []
    return any(isinstance(place, str) and _is_of_runs(urlsplit(place).path) for place in places)


def _is_of_runs(path: str) -> bool:
    parts = [part for part in unquote(path).split("/") if part not in ("", ".")]
    return ".." in parts or parts[:1] == ["runs"]


def subjects(rule: Rule, path: str, query: bytes, body: bytes) -> tuple[Subject, ...]:
    """All that a request changes. MalformedRequest where it names nothing."""
    found: list[Subject] = []
    if rule.path is not None:
        match = re.fullmatch(rule.pattern, _tail(path))
        assert match is not None, "the rule is that of the path"
        found.append(Subject(rule.path, match["id"]))
    if rule.query:
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        found += _named(rule.query, [{key: value} for key, many in values.items() for value in many])
    if rule.body:
        members = body_members(body)
        _refuse_location(members)
        found += _named(rule.body, _objects(members))
    return tuple(found)


def body_members(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. MLflow takes it also as JSON in a JSON string."""
    try:
        members = json.loads(body)
        members = json.loads(members) if isinstance(members, str) else members
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise MalformedRequest("the body is not a JSON object")
    return members


def _tail(path: str) -> str:
    match = _API.fullmatch(path)
    return match[1] if match else ""


def _objects(members: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects in which MLflow reads ids: the body, its metrics, all of its trace."""
    return [members, *_nested(members.get("metrics")), *_nested(members.get("trace"))]


def _nested(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _nested(each)


def _named(wanted: Mapping[str, Kind], objects: list[Mapping[str, Any]]) -> list[Subject]:
    """MLflow reads a member by its name in either spelling, snake_case or camelCase."""
    found, required = [], False
    for name, kind in wanted.items():
        plain = name.removeprefix("?")
        first, *rest = plain.split("_")
        values = [o[key] for o in objects for key in {plain, first + "".join(map(str.title, rest))} if key in o]
        if not all(isinstance(value, str) for value in values):
            raise MalformedRequest(f"{plain} is not text")
        found += [Subject(kind, value) for value in values if value]
        required = required or (plain == name and any(values))
    if not required:
        names = " or ".join(name for name in wanted if not name.startswith("?"))
        raise MalformedRequest(f"the request names no {names}, so nobody knows whose it is")
    return found


def _refuse_location(members: Mapping[str, Any]) -> None:
    if members.get("artifact_location") or members.get("artifactLocation"):
        raise Forbidden(
            "only administrators choose where an experiment's artifacts are", remedy="Leave artifact_location out."
        )
