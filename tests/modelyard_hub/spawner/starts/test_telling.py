"""A diagnosis as the page, the API and a failed start tell it."""

from __future__ import annotations

from jupyterhub.utils import format_exception

from modelyard_hub.spawner.starts.causes.base import Diagnosis
from modelyard_hub.spawner.starts.telling import NotStarted, event

ROOM = Diagnosis("schedule", "no-room", "No node has <8> CPUs.", ("The scheduler: 0/1 & more",), "Wait.", capacity=True)
PULL = Diagnosis("pull", "pulling", "Its image is being pulled.", wrong=False)


def test_what_is_wrong_has_evidence_remedy_and_buttons() -> None:
    told = event(ROOM, 10.0, 5.0, home="/hub/home")
    assert told["message"] == "No node has <8> CPUs. Wait."
    html = told["html_message"]
    assert "<strong>No node has &lt;8&gt; CPUs.</strong><div>Wait.</div>" in html
    assert "The scheduler: 0/1 &amp; more</pre>" in html
    assert told["waits"]
    assert "<button" not in html, "the page has one already"
    assert 'href="/hub/home">Your servers</a>' in html
    assert (told["reason"], told["capacity"], told["evidence"]) == ("no-room", True, ["The scheduler: 0/1 & more"])
    assert "seconds_left" not in told, "how long is usual says nothing when something is wrong"


def test_what_goes_its_way_has_an_estimate_and_no_button() -> None:
    told = event(PULL, 30.0, 10.0)
    assert told["message"] == "Its image is being pulled. Usually ready in 10 s."
    assert (told["progress"], told["seconds_left"]) == (71, 10.0)
    assert "button" not in told["html_message"]
    assert not told["waits"]
    assert event(PULL, 30.0, None)["message"] == "Its image is being pulled."


def test_a_failed_start_carries_the_text_where_jupyterhub_looks_for_it() -> None:
    error = NotStarted(ROOM, again="/hub/spawn/ada")
    message, html = format_exception(error, only_jupyterhub=True)
    assert message == "No node has <8> CPUs. Wait.\nThe scheduler: 0/1 & more"
    assert 'href="/hub/spawn/ada">Start again</a>' in html
    assert (error.reason, error.status_code) == ("no-room", 503)
    assert NotStarted(PULL).status_code == 500


def test_what_the_users_server_printed_is_not_in_the_hubs_log() -> None:
    found = Diagnosis("ready", "crashed", "The server ended.", ("token=secret",), "Start it again.")
    told = NotStarted(found)
    assert "secret" not in str(told.log_message)
    assert "secret" in told.jupyterhub_message, "who started it may read it"
