"""`/endpoints` as clients see it."""

import asyncio
from typing import Any

import pytest

from harness.api import API, Yard, body, problem
from modelyard_api.endpoints import EndpointStatus, RevisionStatus

CHURN = f"{API}/endpoints/ada/churn"
CREATE = {"If-None-Match": "*"}


async def _create(yard: Yard, **members: Any) -> dict[str, Any]:
    async with yard.client("ada") as ada:
        answer = await ada.put(CHURN, json=body(**members), headers=CREATE)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_create_read_list(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.put(CHURN, json=body(), headers=CREATE)
        assert answer.status_code == 201
        assert answer.headers["etag"] == '"1"'
        assert answer.headers["location"] == CHURN
        created = answer.json()
        assert created["spec"]["shared_with"] == ["team"]
        assert created["created_by"] == "ada"

        answer = await ada.get(CHURN)
        assert answer.headers["etag"] == '"1"'
        assert answer.json() == created
        assert (await ada.get(f"{API}/endpoints")).json() == {"items": [created]}
        assert (await ada.get(f"{API}/endpoints?owner=bob")).json() == {"items": []}
    record = await yard.parts.store.get("ada", "churn")
    assert record.packages[1].location == str(yard.parts.settings.home / "artifacts" / "ada.churn" / "1")


async def test_status_does_not_change_the_etag(yard: Yard) -> None:
    await _create(yard)
    await yard.parts.store.write_status("ada", "churn", EndpointStatus(url="http://x", observed_generation=1))
    async with yard.client("ada") as ada:
        answer = await ada.get(CHURN)
    assert answer.headers["etag"] == '"1"'
    assert answer.json()["status"]["url"] == "http://x"


async def test_create_on_a_taken_name_is_a_conflict(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("bob") as bob, yard.client("ada") as ada:
        assert "exists" in problem(await ada.put(CHURN, json=body(), headers=CREATE), 409, "Conflict")["detail"]
        # to bob, whose group may change it, as well
        answer = await bob.put(f"{API}/endpoints/team/churn", json=body(), headers=CREATE)
        assert answer.status_code == 201


async def test_what_is_not_yours(yard: Yard) -> None:
    """Bob sees what ada shares with the team, and may not change it; eve does not learn that it exists."""
    await _create(yard)
    match = {"If-Match": '"1"'}
    async with yard.client("bob") as bob:
        assert (await bob.get(CHURN)).status_code == 200
        for answer in [
            await bob.put(CHURN, json=body(), headers=match),
            await bob.put(CHURN, json=body(), headers=CREATE),
            await bob.patch(CHURN, json={}, headers=match),
            await bob.delete(CHURN, headers=match),
            await bob.post(f"{CHURN}/rollback"),
            await bob.get(f"{CHURN}/keys"),
            await bob.post(f"{CHURN}/keys", json={"name": "k"}),
        ]:
            said = problem(answer, 403, "Forbidden")
            assert said["detail"] == "ada/churn belongs to 'ada'; you are 'bob' and in the groups team"
            assert "bob/churn" in said["remedy"]
    async with yard.client("eve") as eve:
        assert (await eve.get(f"{API}/endpoints")).json() == {"items": []}
        missing = problem(await eve.get(f"{API}/endpoints/ada/nothing"), 404, "NotFound")["detail"]
        for answer in [
            await eve.get(CHURN),
            await eve.patch(CHURN, json={}, headers=match),
            await eve.delete(CHURN, headers=match),
            await eve.post(f"{CHURN}/rollback"),
            await eve.get(f"{CHURN}/keys"),
            await eve.get(f"{CHURN}/logs"),
            await eve.get(f"{CHURN}/metrics"),
        ]:
            assert problem(answer, 404, "NotFound")["detail"] == missing.replace("nothing", "churn")
        problem(await eve.put(CHURN, json=body(), headers=CREATE), 403, "Forbidden")
    async with yard.client("root") as root:
        assert len((await root.get(f"{API}/endpoints")).json()["items"]) == 1
        assert (await root.delete(CHURN, headers=match)).status_code == 202


async def test_a_token_that_only_reads(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada-reads") as ada:
        assert (await ada.get(CHURN)).status_code == 200
        said = problem(await ada.delete(CHURN, headers={"If-Match": '"1"'}), 403, "Forbidden")
    assert "custom:modelyard:write" in said["detail"]


async def test_without_a_token_that_the_hub_knows(yard: Yard) -> None:
    async with yard.client() as client:
        for header in (b"", b"Bearer nobody", b"Bearer ", b"Basic YTpi", "Bearer ümlaut".encode()):
            answer = await client.get(CHURN, headers={b"Authorization": header})
            problem(answer, 401, "Unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_change_needs_the_etag(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada") as ada:
        for answer in [
            await ada.put(CHURN, json=body()),
            await ada.patch(CHURN, json={"spec": {"description": "x"}}),
            await ada.delete(CHURN),
        ]:
            assert "If-Match" in problem(answer, 428, "PreconditionRequired")["remedy"]
        for stale in ('"7"', 'W/"1"', "nonsense", '"99999999999999999999999"'):
            problem(await ada.put(CHURN, json=body(), headers={"If-Match": stale}), 412, "StaleWrite")
            problem(await ada.delete(CHURN, headers={"If-Match": stale}), 412, "StaleWrite")
        good = {"If-Match": '"7", "1"'}
        answer = await ada.put(CHURN, json=body(description="new"), headers=good)
        assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
        problem(await ada.put(CHURN, json=body(description="other"), headers=good), 412, "StaleWrite")
        missing = f"{API}/endpoints/ada/nothing"
        problem(await ada.put(missing, json=body(), headers={"If-Match": '"1"'}), 404, "NotFound")


async def test_of_two_concurrent_writes_one_wins(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada", **{"If-Match": '"1"'}) as ada:
        answers = await asyncio.gather(*(ada.patch(CHURN, json={"spec": {"description": d}}) for d in "abcd"))
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412]
    entries = await yard.parts.store.list_audit({"ada"})
    assert [e.action for e in entries] == ["update", "create"]


async def test_patch_merges(yard: Yard) -> None:
    await _create(yard, description="before", scaling={"min": 2, "max": 4})
    patch = {"spec": {"description": "after", "scaling": {"max": 8}}}
    async with yard.client("ada", **{"If-Match": '"1"', "Content-Type": "application/merge-patch+json"}) as ada:
        answer = await ada.patch(CHURN, json=patch)
        assert answer.status_code == 200, answer.text
        spec = answer.json()["spec"]
        assert (spec["description"], spec["scaling"]) == ("after", {"min": 2, "max": 8})
        ada.headers["If-Match"] = '"2"'
        answer = await ada.patch(CHURN, json={"spec": {"description": None, "scaling": None}})
        spec = answer.json()["spec"]
        assert (spec["description"], spec["scaling"]) == ("", {"min": 1, "max": 1})
        assert spec["shared_with"] == ["team"]
        ada.headers["If-Match"] = '"3"'
        said = problem(await ada.patch(CHURN, json={"spec": {"scaling": {"min": 0}}}), 422, "InvalidInput")
        assert said["errors"][0]["field"] == "spec.scaling.min"
        said = problem(await ada.patch(CHURN, json={"status": {}}), 422, "InvalidInput")
        assert said["errors"][0]["field"] == "status"


@pytest.mark.parametrize(
    ("spec", "code", "field", "words"),
    [
        ({"revisions": body()["spec"]["revisions"], "traffic": [{"revision": 1, "percent": 95}]},
         "InvalidTraffic", "spec", "sum to 95, not 100"),
        ({"revisions": body()["spec"]["revisions"], "traffic": [{"revision": 2, "percent": 100}]},
         "InvalidTraffic", "spec", "names revision 2"),
        ({"revisions": body()["spec"]["revisions"], "traffic": [{"revision": 1, "percent": 101}]},
         "InvalidTraffic", "spec.traffic.0.percent", "less than or equal to 100"),
        ({**body()["spec"], "scaling": {"min": 3, "max": 2}}, "InvalidInput", "spec.scaling", "greater than"),
        ({**body()["spec"], "shared_with": ["No Label"]}, "InvalidName", "spec.shared_with.0", "not a DNS label"),
        ({**body()["spec"], "colour": "red"}, "InvalidInput", "spec.colour", "not permitted"),
        ({"traffic": []}, "InvalidInput", "spec.revisions", "required"),
        (None, "InvalidInput", "spec", "dictionary"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant(yard: Yard, spec: Any, code: str, field: str, words: str) -> None:
    async with yard.client("ada", **CREATE) as ada:
        said = problem(await ada.put(CHURN, json={"spec": spec}), 422, code)
    assert field in [e["field"] for e in said["errors"]]
    assert words in said["detail"]
    assert "Value error" not in said["detail"]


async def test_names_that_are_no_labels(yard: Yard) -> None:
    async with yard.client("ada", **CREATE) as ada:
        for name in ("Churn", "-a", "a" * 64, "a_b"):
            said = problem(await ada.put(f"{API}/endpoints/ada/{name}", json=body()), 422, "InvalidName")
            assert said["errors"][0]["field"] == "name"


async def test_not_json(yard: Yard) -> None:
    async with yard.client("ada", **CREATE, **{"Content-Type": "application/json"}) as ada:
        problem(await ada.put(CHURN, content=b"{"), 400, "MalformedRequest")
        problem(await ada.put(CHURN, content=b"\xff\xfe{}"), 400, "MalformedRequest")
        problem(await ada.put(CHURN, content=b"[" * 20_000), 400, "MalformedRequest")
        said = problem(await ada.put(CHURN, content=b'{"spec": {"scaling": {"min": NaN}}}'), 422, "InvalidInput")
        assert "spec.scaling.min" in said["detail"]


async def test_bodies_over_the_limit(yard: Yard) -> None:
    async def stream() -> Any:
        for _ in range(70):
            yield b" " * 1024

    async with yard.client("ada", **CREATE) as ada:
        announced = problem(await ada.put(CHURN, content=b" " * 70 * 1024), 413, "TooLarge")
        streamed = problem(await ada.put(CHURN, content=stream()), 413, "TooLarge")
    assert announced == streamed
    assert announced["limit"] == yard.parts.settings.max_body


async def test_unknown_versions_name_what_exists(yard: Yard) -> None:
    async with yard.client("ada", **CREATE) as ada:
        said = problem(await ada.put(CHURN, json=body({9: 100})), 422, "UnknownVersion")
        assert "it has 1, 2, 3, 4" in said["detail"]
        problem(await ada.get(CHURN), 404, "NotFound")


async def test_revisions_are_immutable(yard: Yard) -> None:
    await _create(yard)
    changed = body()
    changed["spec"]["revisions"][0]["version"] = "2"
    async with yard.client("ada", **{"If-Match": '"1"'}) as ada:
        said = problem(await ada.put(CHURN, json=changed), 422, "InvalidInput")
    assert said["field"] == "spec.revisions.0.version"


async def test_a_revision_with_traffic_stays(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada") as ada:
        said = problem(await ada.put(CHURN, json=body({2: 100}), headers={"If-Match": '"1"'}), 422, "InvalidTraffic")
        assert "revision 1 has 100 %" in said["detail"]
        assert (await ada.put(CHURN, json=body({2: 100}, 1, 2), headers={"If-Match": '"1"'})).status_code == 200
        status = EndpointStatus(revisions=(RevisionStatus(number=1, percent=100),))
        await yard.parts.store.write_status("ada", "churn", status)
        said = problem(await ada.put(CHURN, json=body({2: 100}), headers={"If-Match": '"2"'}), 409, "Conflict")
        assert "still gets 100 %" in said["detail"]
        await yard.parts.store.write_status("ada", "churn", EndpointStatus())
        assert (await ada.put(CHURN, json=body({2: 100}), headers={"If-Match": '"2"'})).status_code == 200


async def test_rollback(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada") as ada:
        said = problem(await ada.post(f"{CHURN}/rollback"), 409, "Conflict")
        assert "no earlier revision" in said["detail"]
        await ada.put(CHURN, json=body({1: 90, 2: 10}), headers={"If-Match": '"1"'})
        answer = await ada.post(f"{CHURN}/rollback")
        assert answer.json()["spec"]["traffic"] == [{"revision": 1, "percent": 100}]
        assert answer.headers["etag"] == '"3"'
        await ada.put(CHURN, json=body({2: 100}, 1, 2), headers={"If-Match": '"3"'})
        problem(await ada.post(f"{CHURN}/rollback", headers={"If-Match": '"3"'}), 412, "StaleWrite")
        answer = await ada.post(f"{CHURN}/rollback", headers={"If-Match": '"4"'})
        assert answer.json()["spec"]["traffic"] == [{"revision": 1, "percent": 100}]


async def test_delete(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada") as ada:
        answer = await ada.delete(CHURN, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json()["deleting"]) == (202, True)
        assert (await ada.get(CHURN)).json()["deleting"] is True
        again = await ada.delete(CHURN, headers={"If-Match": answer.headers["etag"]})
        assert (again.status_code, again.json()) == (202, answer.json())
        for refused in [
            await ada.put(CHURN, json=body(), headers=CREATE),
            await ada.put(CHURN, json=body(), headers={"If-Match": '"2"'}),
            await ada.post(f"{CHURN}/keys", json={"name": "k"}),
        ]:
            assert "being deleted" in problem(refused, 409, "Conflict")["detail"]
        await yard.parts.store.remove("ada", "churn")
        problem(await ada.get(CHURN), 404, "NotFound")
        answer = await ada.put(CHURN, json=body(), headers=CREATE)
        assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')


async def test_audit_says_who_what_when_from_where(yard: Yard) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.5, 198.51.100.9"}
    async with yard.client("ada", **forwarded) as ada:
        await ada.put(CHURN, json=body(), headers=CREATE)
        (entry,) = (await ada.get(f"{API}/audit")).json()["items"]
        assert (await ada.get(f"{API}/audit?subject=endpoint/ada/other")).json() == {"items": []}
    assert (entry["who"], entry["action"], entry["subject"]) == ("ada", "create", "endpoint/ada/churn")
    assert entry["source"] == "198.51.100.9"
    async with yard.client("eve") as eve, yard.client("root") as root:
        assert (await eve.get(f"{API}/audit")).json() == {"items": []}
        assert (await root.get(f"{API}/audit")).json() == {"items": [entry]}
