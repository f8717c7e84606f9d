"""Whether what is to trigger a schedule's runs can: said when the schedule is written, not when nothing happens."""

from __future__ import annotations

from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidInput, NotFound
from modelyard_api.names import registered_model
from modelyard_api.parameters import check
from modelyard_api.schedules import OnDrift, OnFiles, ScheduleSpec
from modelyard_hub.parts import Parts
from modelyard_hub.watched import Watcher


async def triggered(parts: Parts, identity: Identity, owner: str, spec: ScheduleSpec) -> ScheduleSpec:
    """The spec with the owner in names that have none. InvalidInput, InvalidParameter; Forbidden, Unavailable for a
    place that cannot be listed."""
    if spec.run.takes_a_file and (spec.on_files is None or spec.cron or spec.on_version or spec.on_drift):
        # Not in the spec itself: a schedule of before would keep all from being read.
        raise InvalidInput(
            "spec.run.score: it takes {file} or {stem}, which only new files fill in",
            remedy="Let on_files alone start it, and make another schedule of the data as a whole for other times.",
        )
    if spec.on_files is not None:
        await _check_files(parts, identity, owner, spec, spec.on_files)
    if spec.on_drift is None:
        return spec
    _check_parameter(spec, spec.on_drift.parameter, {})
    named: OnDrift = spec.on_drift.model_copy(update={"model": registered_model(owner, spec.on_drift.model)})
    return spec.model_copy(update={"on_drift": named})


async def _check_files(parts: Parts, identity: Identity, owner: str, spec: ScheduleSpec, wanted: OnFiles) -> None:
    if spec.run.score is None:
        _check_parameter(spec, wanted.parameter, [])
    elif "{file}" not in spec.run.score.data:
        raise InvalidInput(
            "spec.on_files: the scoring reads none of the new files",
            remedy="Put {file} where its data are, such as data='{file}'.",
        )
    try:
        await parts.places.look(wanted, Watcher(owner, identity.username, spec.run))
    except (InvalidInput, NotFound) as error:
        raise InvalidInput(f"spec.on_files.location: {error.detail}", remedy=error.remedy) from error


def _check_parameter(spec: ScheduleSpec, name: str | None, value: object) -> None:
    notebook = spec.run.notebook
    if name is not None and notebook is not None and notebook.declared is not None:
        check(notebook.declared, {**spec.run.parameters, name: value})
