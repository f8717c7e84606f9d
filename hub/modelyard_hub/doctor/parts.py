"""The parts of the embedded default: do they answer, and does the port belong to them."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard_api.errors import Conflict
from modelyard_hub.doctor.base import Finding, Patient
from modelyard_hub.embedded.home import check_port
from modelyard_hub.embedded.processes import log_path, log_tail, recorded


def check(patient: Patient) -> Iterator[Finding]:
    """Findings about parts that do not answer; about the port where nothing runs."""
    settings = patient.settings
    running = recorded(settings.home)
    if patient.admin is None or not running:
        try:
            check_port(settings)
        except Conflict as error:
            yield Finding(f"port {settings.port}", error.detail, "another program listens there", error.remedy)
        yield Finding(str(settings.home), "no part runs", "it was not started, or was stopped", "Run 'make up'.")
        return
    for row in patient.admin.status():
        if row["state"] == "answers":
            continue
        name = "traefik" if row["part"] == "router" else row["part"]
        lines = log_tail(settings.home, name, 1)
        cause = f"its process {'runs' if name in running else 'does not run'}; its last words: {' '.join(lines) or '-'}"
        yield Finding(name, f"{row['url']}: {row['state']}", cause, f"Read {log_path(settings.home, name)}.")
