"""Tables and plots of a sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, NotFound
from modelyard.group_view import Group
from modelyard.grouped import AsyncGroup
from modelyard_api.groups import Group as Resource
from modelyard_api.groups import MemberStatus
from modelyard_api.runs import RunState

BEGAN = datetime(2026, 5, 4, 12, tzinfo=UTC)


def member(name: str, parameters: dict[str, Any], state: RunState = RunState.succeeded, **results: Any) -> MemberStatus:
    return MemberStatus(
        member=name,
        run="0" * 16,
        state=state,
        parameters=parameters,
        results=results,
        started=BEGAN,
        ended=BEGAN + timedelta(seconds=3),
    )


def group(*members: MemberStatus) -> Group:
    counts = {state: sum(m.state is state for m in members) for state in {m.state for m in members}}
    resource = Resource(
        id="g", owner="ada", name="de<pths", kind="sweep", parallel=0, created_by="ada", created_at=BEGAN,
        counts=counts, members=members,
    )  # fmt: skip
    return Group(AsyncGroup(AsyncClient("http://127.0.0.1:9", "token"), resource))


SWEEP = group(
    member("1", {"depth": 1, "kind": "a"}, auc=0.5),
    member("2", {"depth": 3, "kind": "b"}, auc=0.9, note="<b>"),
    member("3", {"depth": 5, "kind": "a"}, RunState.failed),
)


def test_a_table() -> None:
    table = SWEEP.table("auc")
    assert list(table.index) == ["2", "1", "3"]
    assert list(table.columns) == ["state", "depth", "kind", "auc", "seconds", "note"]
    assert table.loc["2"].tolist() == ["succeeded", 3, "b", 0.9, 3.0, "<b>"]
    assert list(SWEEP.table("depth", descending=False).index) == ["1", "2", "3"]
    with pytest.raises(NotFound, match="no column 'acu'"):
        SWEEP.table("acu")
    html = SWEEP._repr_html_()
    assert "&lt;b&gt;" in html
    assert "de&lt;pths: 2 succeeded, 1 failed" in html
    assert "<b>" not in html


def test_the_best() -> None:
    assert SWEEP.best("auc").member == "2"
    assert SWEEP.best("auc", largest=False).member == "1"
    with pytest.raises(NotFound, match="'note'"):
        SWEEP.best("note")


def test_a_plot() -> None:
    plot = SWEEP.plot("auc")
    spec = plot._repr_mimebundle_()["application/vnd.vegalite.v5+json"]
    assert [row["auc"] for row in spec["data"]["values"]] == [0.5, 0.9]
    encoding = spec["encoding"]
    assert (encoding["x"]["field"], encoding["x"]["type"]) == ("depth", "quantitative")
    assert (encoding["y"]["field"], encoding["color"]["field"]) == ("auc", "kind")
    assert SWEEP.plot("auc", x="kind").spec["encoding"]["x"]["type"] == "nominal"
    with pytest.raises(InvalidInput, match="no parameter 'rate'"):
        SWEEP.plot("auc", x="rate")
    with pytest.raises(NotFound, match="no member recorded a number 'note'"):
        SWEEP.plot("note")
