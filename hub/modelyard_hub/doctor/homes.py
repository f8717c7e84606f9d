"""Volumes that are left over: their owner has no account any more."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard_api.errors import ModelyardError
from modelyard_api.quantities import show_bytes
from modelyard_hub.doctor.base import Finding, Patient
from modelyard_hub.volumes.leftover import left_over


def check(patient: Patient) -> Iterator[Finding]:
    """Findings of the Modelyard that runs from the state folder."""
    if patient.admin is None:
        return
    try:
        found = left_over(patient.admin.volumes(), patient.admin.accounts())
    except ModelyardError:
        return  # which part does not answer another check says
    for volume in found:
        size = volume.status.size or volume.status.used
        yield Finding(
            f"volume {volume.owner}/{volume.name}",
            f"there is no account named {volume.owner}" + (f"; it has {show_bytes(size)}" if size else ""),
            "the account was deleted while its volumes could not be put into the trash, or by hand",
            f"Put it into the trash on the page (Volumes), or make the account {volume.owner} again.",
        )
