"""Which claims a server starts with."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_api.errors import Conflict
from modelyard_api.volumes import SharedVolume
from modelyard_hub.volumes.claims import OWNER, SERVER, TRASHED, USER, VOLUME
from modelyard_hub.volumes.homes import Whose, further, home, mounts_of, seen

ADA = Whose("ada", "", "2026-01-01T00:00:00")


def claim(name: str, volume: str | None = "home", user: str | None = ADA.user, **more: Any) -> dict[str, Any]:
    labels = {OWNER: more.get("owner", "ada"), VOLUME: volume, TRASHED: more.get("trashed")}
    notes = {USER: user, SERVER: more.get("server")}
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "resourceVersion": "1",
            "creationTimestamp": more.get("made", "2026-01-02T00:00:00Z"),
            "labels": {key: value for key, value in labels.items() if value is not None},
            "annotations": {key: value for key, value in notes.items() if value is not None},
        },
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
    }


def found(claims: list[dict[str, Any]], whose: Whose = ADA, remembered: str = "") -> str | None:
    chosen = home(claims, whose, remembered)
    return None if chosen is None else str(chosen["metadata"]["name"])


def test_ones_own_and_nobody_elses() -> None:
    mine = claim("home-ada-x")
    assert found([]) is None
    assert found([claim("home-ada-gpu-x", "home-gpu"), claim("ada-data-x", "data"), mine]) == "home-ada-x"
    assert found([mine], Whose("ada", "gpu", ADA.user)) is None
    assert found([claim("home-ada-gpu-x", "home-gpu")], Whose("ada", "gpu", ADA.user)) == "home-ada-gpu-x"


def test_what_is_in_the_trash_is_nobodys() -> None:
    put = claim("home-ada-x", trashed="true")
    going = claim("home-ada-y")
    going["metadata"]["deletionTimestamp"] = "2026-01-03T00:00:00Z"
    assert found([put, going], remembered="home-ada-x") is None


def test_a_new_account_of_the_same_name_is_not_given_the_earlier_ones() -> None:
    with pytest.raises(Conflict, match="home-ada-x belongs to an earlier account named 'ada'"):
        found([claim("home-ada-x", user="2020-01-01T00:00:00")])
    both = [claim("home-ada-x", user="2020-01-01T00:00:00"), claim("home-ada-y")]
    assert found(both) == "home-ada-y"
    assert found(both, remembered="home-ada-x") == "home-ada-y"


def test_homes_that_say_nothing_yet_are_taken_over() -> None:
    assert found([claim("home-ada", None, None)]) == "home-ada"
    assert found([claim("other", None, None)]) is None
    assert found([claim("home-ada-x", user=None)]) == "home-ada-x"


def test_who_was_renamed_keeps_theirs() -> None:
    assert found([claim("home-lovelace-x", owner="lovelace")], remembered="home-lovelace-x") == "home-lovelace-x"
    stranger = claim("home-lovelace-x", owner="lovelace", user="2020-01-01T00:00:00")
    assert found([stranger], remembered="home-lovelace-x") is None


def test_further_volumes_are_those_of_this_server() -> None:
    claims = [
        claim("a", "data", server=""), claim("b", "gpu-data", server="gpu"), claim("c", "none", server="-"),
        claim("d", "more", server=""), claim("e", "gone", server="", trashed="true"), claim("home-ada-x"),
        claim("f", "data", server="", made="2026-02-02T00:00:00Z"),
    ]  # fmt: skip
    assert [c["metadata"]["name"] for c in further(claims, ADA)] == ["a", "d"]
    assert [c["metadata"]["name"] for c in further(claims, Whose("ada", "gpu", ""))] == ["b"]


def test_the_mounts_of_a_pod() -> None:
    shared = (
        SharedVolume(name="imagenet", claim="pictures", groups=("vision",)),
        SharedVolume(name="tables", claim="warehouse", folder="exports", writable=True),
        SharedVolume(name="here", path="/srv/here"),
    )
    assert [one.name for one in seen(shared, ["team"])] == ["tables"]
    assert mounts_of([claim("ada-data-x", "data")], seen(shared, ["vision"])) == [
        (
            {"name": "volume-0", "persistentVolumeClaim": {"claimName": "ada-data-x"}},
            {"name": "volume-0", "mountPath": "/home/jovyan/volumes/data"},
        ),
        (
            {"name": "shared-imagenet", "persistentVolumeClaim": {"claimName": "pictures", "readOnly": True}},
            {"name": "shared-imagenet", "mountPath": "/home/jovyan/shared/imagenet", "readOnly": True},
        ),
        (
            {"name": "shared-tables", "persistentVolumeClaim": {"claimName": "warehouse"}},
            {"name": "shared-tables", "mountPath": "/home/jovyan/shared/tables", "subPath": "exports"},
        ),
    ]
