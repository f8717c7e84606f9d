"""EndpointPanel over a real API and a real model server, with a browser that the test plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import modelyard as yard
from harness.api import body
from harness.fake_browser import Tab
from harness.model_server import serving
from harness.packages import write_skops
from harness.served import Served, served
from harness.wait import eventually
from modelyard.errors import Conflict, NotFound
from modelyard.widgets import looking as module
from modelyard.widgets.endpoint import EndpointPanel
from modelyard_api.conditions import Condition, ConditionStatus
from modelyard_api.endpoints import EndpointStatus, RevisionStatus
from modelyard_hub.reconcile.names import workload_name
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica

CHURN = "/endpoints/ada/churn"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def api(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        monkeypatch.setenv("MODELYARD_URL", it.url)
        monkeypatch.setenv("MODELYARD_TOKEN", "ada")
        with it.client("ada") as ada:
            made = ada.put(CHURN, json=body({1: 90, 2: 10}), headers={"If-None-Match": "*"})
            assert made.status_code == 201, made.text
        yield it


@pytest.fixture
def tab(api: Served, browser: None) -> Tab:
    return Tab(EndpointPanel("churn"))


def view(tab: Tab) -> dict[str, Any]:
    found: dict[str, Any] = tab.panel.view
    return found


def change(api: Served, **spec: Any) -> None:
    """Somebody else writes."""
    with api.client("ada") as ada:
        tag = ada.get(CHURN).headers["etag"]
        ada.patch(CHURN, json={"spec": spec}, headers={"If-Match": tag}).raise_for_status()


def told(api: Served, reason: str, *, tail: tuple[str, ...] = ()) -> None:
    """The reconciler says how revision 1 is."""
    status = ConditionStatus.true if reason == "Ready" else ConditionStatus.false
    ready = Condition(type="Ready", status=status, reason=reason, message="exit status 1", since=NOW)
    revision = RevisionStatus(number=1, percent=90, desired_replicas=1, conditions=(ready,), log_tail=tail)
    known = EndpointStatus(observed_generation=9, conditions=(ready,), revisions=(revision,))
    api.call(api.yard.parts.store.write_status("ada", "churn", known))


def test_it_says_what_is_and_to_whom_it_belongs(tab: Tab) -> None:
    shown = view(tab)
    assert (shown["owner"], shown["name"], shown["traffic"]) == ("ada", "churn", {"1": 90, "2": 10})
    assert [(r["number"], r["wanted"]) for r in shown["revisions"]] == [(1, 90), (2, 10)]
    assert (shown["locked"], shown["rollback"], shown["problem"]) == ("", None, None)
    assert tab.comm.messages[0][0] == "comm_open"


def test_shares_are_written_and_others_changes_are_kept_or_told(api: Served, tab: Tab) -> None:
    change(api, description="of last year's customers")
    seen = {"1": 90, "2": 10}
    assert tab.click("split", shares={"1": 70, "2": 30}, expected=seen)["ok"]
    assert (view(tab)["traffic"], view(tab)["description"]) == ({"1": 70, "2": 30}, "of last year's customers")
    refused = tab.click("split", shares={"1": 50, "2": 50}, expected=seen)
    assert refused["problem"]["title"] == "Stale write"
    assert "30 % to revision 2" in refused["problem"]["detail"]
    assert "sum to 90" in tab.click("split", shares={"1": 90})["problem"]["detail"]


def test_a_promotion_can_be_rolled_back(api: Served, tab: Tab) -> None:
    tab.click("split", shares={"1": 100})
    tab.click("split", shares={"2": 100})
    assert view(tab)["rollback"] == 1
    assert tab.click("rollback")["ok"]
    assert (view(tab)["traffic"], view(tab)["rollback"]) == ({"1": 100}, None)
    assert "no earlier revision" in tab.click("rollback")["problem"]["detail"]


def test_replicas_are_set(api: Served, tab: Tab) -> None:
    assert tab.click("scale", min=2, max=3)["ok"]
    assert view(tab)["scaling"] == [2, 3]
    assert "64" in tab.click("scale", min=2, max=900)["problem"]["detail"]


def test_a_reader_is_told_why_nothing_can_be_changed(
    api: Served, browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_TOKEN", "bob")
    tab = Tab(EndpointPanel("ada/churn"))
    assert "belongs to ada, and you are bob" in view(tab)["locked"]
    assert tab.click("split", shares={"1": 100})["problem"]["title"] == "Forbidden"
    monkeypatch.setenv("MODELYARD_TOKEN", "ada-reads")
    assert "may only read" in Tab(EndpointPanel("churn")).panel.view["locked"]


def test_a_crash_loop_shows_its_last_lines(api: Served, tab: Tab) -> None:
    told(api, "CrashLoop", tail=tuple(f"line {i}" for i in range(30)))
    tab.panel.refresh()
    assert view(tab)["state"] == "CrashLoop: exit status 1"
    (first, second) = view(tab)["revisions"]
    assert (first["tail"][-1], len(first["tail"]), second["tail"]) == ("line 29", 6, [])


def test_updates_stay_small(api: Served, tab: Tab) -> None:
    api.yard.registry.add("ada.churn", *(str(n) for n in range(5, 51)))
    change(
        api,
        description="x" * 2000,
        revisions=[{"number": n, "model": "ada.churn", "version": str(n)} for n in range(1, 51)],
    )
    told(api, "CrashLoop", tail=("y" * 5000,) * 50)
    tab.panel.refresh()
    assert tab.updates
    assert max(map(tab.size, tab.updates)) <= 4096


def test_it_looks_only_while_somebody_does(api: Served, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)

    def look(looking: bool) -> None:
        content = {"told": "look", "given": {"viewer": "a", "looking": looking}}
        tab.panel._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    look(True)
    change(api, traffic=[{"revision": 2, "percent": 100}])
    eventually(lambda: view(tab)["traffic"] == {"2": 100}, what="a change of others arrives")
    look(False)
    eventually(lambda: tab.panel._watch is None, what="nobody looks any more")
    before = len(api.asked)
    change(api, traffic=[{"revision": 1, "percent": 100}])
    assert len(api.asked) == before + 2  # the change's own
    look(True)
    eventually(lambda: view(tab)["traffic"] == {"1": 100}, what="it looks again")
    look(False)


def test_a_view_that_says_nothing_more_is_taken_for_gone(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.02)
    monkeypatch.setattr(module, "LEASE", 0.1)
    tab.panel.hear_look("a", True)
    eventually(lambda: tab.panel._watch is None, what="the lease is over")


def test_what_it_last_saw_stays_while_the_hub_is_away(api: Served, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    tab.panel._remote._client.patience = 0
    api.away = True
    assert not tab.panel.refresh()
    assert view(tab)["problem"]["title"] == "Unavailable"
    assert view(tab)["traffic"] == {"1": 90, "2": 10}
    api.away = False
    assert tab.panel.refresh()
    assert view(tab)["problem"] is None


def test_a_token_that_expired_says_what_to_do(api: Served, tab: Tab) -> None:
    del api.yard.hub.users["ada"]
    api.yard.parts.identities._known.clear()
    tab.panel.refresh()
    assert view(tab)["problem"]["title"] == "Your token is not accepted any more"
    assert "start your server" in view(tab)["problem"]["remedy"]


def test_a_deletion_needs_the_name_and_is_told(api: Served, tab: Tab) -> None:
    assert "Type churn" in tab.click("delete", name="chur")["problem"]["remedy"]
    assert tab.click("delete", name="churn")["ok"]
    assert view(tab)["deleting"]
    api.call(api.yard.parts.store.remove("ada", "churn"))
    tab.panel.refresh()
    assert view(tab)["gone"]


def test_a_secret_is_in_no_trait(api: Served, tab: Tab) -> None:
    made = tab.click("create_key", name="billing", days=30)["value"]
    assert made["secret"].startswith("my_")
    assert made["expires_at"] is not None
    assert made["secret"] not in json.dumps([tab.panel.view, tab.panel.live, tab.updates])
    (listed,) = tab.click("keys")["value"]
    assert (listed["name"], "secret" in listed) == ("billing", False)
    assert tab.click("remove_key", id=listed["id"])["ok"]
    assert tab.click("keys")["value"] == []


@pytest.fixture
def model(api: Served, tmp_path: Path) -> Iterator[str]:
    """Revision 1, served."""
    write_skops(tmp_path / "package")
    with serving(tmp_path / "package", endpoint="churn", model="ada.churn", open=True) as (client, _):
        address = str(client.base_url).rstrip("/")
        api.models[1] = address
        name = workload_name("ada", "churn", 1)
        api.yard.runtime.servers[name] = ObservedServer(name, "", (Replica(0, Phase.ready, address),))
        yield address


def test_it_asks_by_a_form_made_from_the_signature_and_counts(model: str, api: Served, tab: Tab) -> None:
    form = tab.click("form")["value"]
    said = [(f["name"], f["kind"], f["whole"], f["required"]) for f in form["fields"]]
    assert said == [
        ("weight", "number", False, False),
        ("age", "number", True, True),
        ("island", "string", False, True),
    ]
    assert form["rows"] == [{"weight": "", "age": "", "island": ""}]  # MLflow is not there, so there is no example
    row = {"weight": "", "age": "9", "island": "east"}
    answer = tab.click("predict", filled=[row], revision=1)["value"]
    assert answer["version"] == "1"
    assert answer["lines"][0]["label"] in ("no", "yes")
    assert set(answer["lines"][0]["probabilities"]) == {"no", "yes"}
    assert answer["ms"] > 0
    for wrong, what in (("", "age is empty"), ("nine", "not a whole number")):
        assert what in tab.click("predict", filled=[{**row, "age": wrong}])["problem"]["detail"]
    problem = tab.click("predict", filled=[{**row, "age": str(2**70)}])["problem"]
    assert "which is no INT64" in problem["detail"]  # the model server's own words
    tab.panel._rates._at -= 2
    tab.panel.refresh()
    tab.click("predict", filled=[row])
    tab.panel._rates._at -= 2
    tab.panel.refresh()
    (requests, errors, p50, *_) = tab.panel.live["revisions"]["1"]
    assert requests > 0
    assert (errors, p50 is None) == (0, False)
    assert tab.click("history")["value"][-1][1] == tab.panel.live["revisions"]


def test_where_nobody_looks_there_is_no_comm(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_PLAIN", "1")
    panel = yard.EndpointPanel("churn")
    assert panel.comm is None
    assert "Endpoint ada/churn" in repr(panel)
    assert panel._repr_mimebundle_() == {"text/plain": repr(panel)}
    with pytest.raises(NotFound, match="no endpoint 'whales'"):
        yard.EndpointPanel("whales")
    with pytest.raises(Conflict):
        panel.endpoint.rollback(wait=0)
