"""Changes of an endpoint's desired state, as pure functions of its spec."""

from __future__ import annotations

from modelyard_api.endpoints import EndpointSpec, RevisionSpec, TrafficTarget
from modelyard_api.errors import InvalidTraffic, NotFound


def newest(spec: EndpointSpec) -> RevisionSpec:
    """The revision with the highest number."""
    return max(spec.revisions, key=lambda r: r.number)


def of_version(spec: EndpointSpec, version: str) -> RevisionSpec | None:
    """The newest revision that serves this model version, or None."""
    return max((r for r in spec.revisions if r.version == version), key=lambda r: r.number, default=None)


def revision_of(spec: EndpointSpec, version: str | int) -> RevisionSpec:
    """As `of_version`; NotFound names the versions that there are."""
    found = of_version(spec, str(version))
    if found is None:
        known = ", ".join(r.version for r in spec.revisions)
        raise NotFound(f"no revision serves version {version}; there are {known}", remedy="Publish that version first.")
    return found


def appended(spec: EndpointSpec, revision: RevisionSpec) -> EndpointSpec:
    """With that revision added under the next free number, without traffic."""
    numbered = revision.model_copy(update={"number": newest(spec).number + 1})
    return spec.model_copy(update={"revisions": (*spec.revisions, numbered)})


def removed(spec: EndpointSpec, number: int) -> EndpointSpec:
    """Without that revision; its share of the traffic goes back to the others."""
    if len(spec.revisions) == 1:
        return spec
    moved = shared(spec, number, 0) if spec.percent(number) else spec
    kept = tuple(r for r in moved.revisions if r.number != number)
    traffic = tuple(t for t in moved.traffic if t.revision != number)
    return moved.model_copy(update={"revisions": kept, "traffic": traffic})


def shared(spec: EndpointSpec, number: int, percent: int) -> EndpointSpec:
    """That revision gets `percent` of the calls, the others keep their proportions in the rest. Raises InvalidTraffic.

    Whole percentages by largest remainder, so that they sum to 100.
    """
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise InvalidTraffic(f"traffic is {percent!r}", remedy="Give a whole percentage from 0 to 100.")
    others = {t.revision: t.percent for t in spec.traffic if t.revision != number and t.percent > 0}
    rest = 100 - percent
    if not others and rest:
        fallback = max((r.number for r in spec.revisions if r.number != number), default=None)
        if fallback is None:
            raise InvalidTraffic("it is the only revision", remedy="It gets all traffic: 100.")
        others = {fallback: 100}
    total = sum(others.values())
    exact = {revision: share * rest / total for revision, share in others.items()}
    whole = {revision: int(share) for revision, share in exact.items()}
    by_remainder = sorted(exact, key=lambda r: (whole[r] - exact[r], r))
    for revision in by_remainder[: rest - sum(whole.values())]:
        whole[revision] += 1
    traffic = {r: p for r, p in (whole | {number: percent}).items() if p > 0}
    active = tuple(r.model_copy(update={"active": True}) if r.number in traffic else r for r in spec.revisions)
    targets = tuple(TrafficTarget(revision=r, percent=traffic[r]) for r in sorted(traffic))
    return spec.model_copy(update={"revisions": active, "traffic": targets})
