"""The form as text: what is shown, where errors stand, and that nothing in it is markup but ours."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import Catalogue
from modelyard_hub.spawner.choosing.page import Shown, render
from modelyard_hub.spawner.rooms.surroundings import Room, Surroundings

MEMORY = {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "512Mi"}
SMALL: dict[str, Any] = {"name": "small", "cpu": 2, "memory": MEMORY}
LARGE: dict[str, Any] = {
    "name": "large",
    "cpu": {"min": 2, "default": 4, "max": 8, "step": 2},
    "memory": "16Gi",
    "shm": {"min": "64Mi", "default": "128Mi", "max": "1Gi", "step": "64Mi"},
    "volume": "10Gi",
}


def form(*profiles: dict[str, Any], around: Surroundings | None = None, **shown: Any) -> str:
    found = Catalogue.model_validate({"profiles": list(profiles) or [SMALL, LARGE]}).profiles
    return render(Shown(found, shown.get("chosen", {}), shown.get("problem")), around or Surroundings())


def box(text: str, profile: str) -> str:
    """The fieldset of a profile's sizes."""
    found = re.search(rf'<fieldset class="yard-sizes" data-profile="{profile}".*?</fieldset>', text, re.S)
    assert found
    return found[0]


def sent(text: str, profile: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', box(text, profile)))


def test_the_default_or_the_last_choice_is_there() -> None:
    text = form()
    assert "disabled hidden" not in box(text, "small")
    assert sent(text, "small") == {"memory": str(2 << 30)}
    assert sent(text, "large") == {"cpu": "4", "shm": str(128 << 20)}
    text = form(chosen={"profile": "large", "cpu": 8, "shm": 1 << 30})
    assert "disabled hidden" in box(text, "small")
    assert sent(text, "large") == {"cpu": "8", "shm": str(1 << 30)}


def test_amounts_are_in_a_unit_in_which_they_are_whole() -> None:
    text = form()
    assert re.search(r'type="number" id="small-memory"[^>]*min="1" max="4"\s+step="0.5" value="2"', text, re.S)
    assert re.search(r'type="number" id="large-shm"[^>]*min="64" max="1024"\s+step="64" value="128"', text, re.S)


def test_what_is_not_for_choosing_here_is_not_shown() -> None:
    text = form(around=Surroundings(hidden=frozenset({"shm", "volume"}), notes=("It is there.",)))
    assert "Shared memory" not in text.split("<script")[0]
    assert "Home volume" not in text
    assert "It is there." in text


def test_what_is_in_the_way_of_every_start_comes_first() -> None:
    text = form(around=Surroundings(warnings=("The home volume is <away>.",)))
    assert '<p class="alert alert-warning" role="alert">The home volume is &lt;away&gt;.</p>' in text
    assert text.index("alert-warning") < text.index("<legend>")
    assert "alert-warning" not in form()


def test_an_error_stands_beside_its_field_with_what_was_given() -> None:
    problem = InvalidChoice("shm: that is too much.", remedy="", field="shm")
    text = form(chosen={"profile": "large", "shm": "9Gi"}, problem=problem)
    assert re.search(r'id="large-shm-error"\s*>shm: that is too much\.</p>', text)
    assert sent(text, "large")["shm"] == str(9 << 30)
    assert text.count("that is too much") == 1
    unknown = form(chosen={"profile": "none"}, problem=InvalidChoice("no profile", remedy="", field="profile"))
    assert '<p class="yard-error">no profile</p>' in unknown


@pytest.mark.parametrize("given", ["</script><b>", '"><img src=x>', ["1"], None, "nan", "-1"])
def test_whatever_was_given_is_shown_as_text(given: Any) -> None:
    problem = InvalidChoice(f"memory: {given}", remedy="", field="memory")
    text = form(chosen={"profile": "small", "memory": given, "image": given}, problem=problem)
    assert "<b>" not in text.replace("<b>small</b>", "").replace("<b>large</b>", "")
    assert "<img" not in text


def test_names_of_people_and_quotas_are_text() -> None:
    evil = "</script><script>alert(1)</script>"
    around = Surroundings((Room("memory", 1, 2, evil),), notes=(evil,))
    text = form({**SMALL, "title": evil, "description": evil}, around=around)
    assert "<script>alert" not in text
    found = re.search(r'<script type="application/json" id="yard-data">(.*?)</script>', text, re.S)
    assert found
    assert json.loads(found[1])["rooms"][0]["of"] == evil
