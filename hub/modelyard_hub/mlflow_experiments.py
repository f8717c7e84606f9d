"""Whose experiment a run, a logged model or a trace is in: asked of MLflow's own store, and remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from modelyard_api.errors import NotFound
from modelyard_hub.mlflow_rules import Kind, Subject

NAME_CACHE = 10.0
"""Seconds an experiment's name is believed: it may be renamed, by this process or another one."""
_REMEMBERED = 100_000


class Experiments(Protocol):
    """Knows the experiments by what is in them."""

    async def name(self, subject: Subject) -> str:
        """The name of the experiment that `subject` is, or is in. NotFound."""


class StoreExperiments:
    """From MLflow's tracking store, which `open_store` gives."""

    def __init__(self, open_store: Callable[[], Any], now: Callable[[], float] = time.monotonic) -> None:
        self._store = open_store
        self._now = now
        self._names: dict[str, tuple[float, str]] = {}
        # What a run is in never changes.
        self._id = lru_cache(_REMEMBERED)(self._ask_id)

    async def name(self, subject: Subject) -> str:
        """See `Experiments.name`."""
        if subject.kind is Kind.experiment_name:
            return subject.id
        return await asyncio.to_thread(self._ask, subject)

    def _ask(self, subject: Subject) -> str:
        from mlflow.exceptions import MlflowException

        try:
            number = self._id(subject)
            at, name = self._names.get(number, (float("-inf"), ""))
            if self._now() - at >= NAME_CACHE:
                name = str(self._store().get_experiment(number).name)
                self._names[number] = (self._now(), name)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise NotFound(f"there is no {subject.kind} {subject.id!r}") from error
            raise
        return name

    def _ask_id(self, subject: Subject) -> str:
        store = self._store()
        match subject.kind:
            case Kind.run:
                found = store.get_run(subject.id).info
            case Kind.logged_model:
                found = store.get_logged_model(subject.id)
            case Kind.trace:
                found = store.get_trace_info(subject.id)
            case _:
                return subject.id
        return str(found.experiment_id)
