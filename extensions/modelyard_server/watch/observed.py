"""The application with an observer: it takes the plain one's place where somebody wants to know."""

from __future__ import annotations

from collections.abc import Awaitable

from modelyard_server.watch.ids import address
from modelyard_server.watch.observer import Observer
from modelyard_server.watch.record import Record
from modelyard_server.web.messages import Answer, Application, Request

_PROBES = ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/metrics")
"""Asked every few seconds by the cluster, the router and Prometheus: not told of while all is well."""


class Observed:
    """Answers as the application does, with X-Request-Id, and tells the observer."""

    def __init__(self, app: Application, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    def admit(self, request: Request) -> Answer | None:
        record = self._begun(request)
        refused = self._app.admit(request)
        return None if refused is None else self._ended(record, refused)

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        record = self._begun(request)
        answer = self._app.handle(request)
        if type(answer) is Answer:
            return self._ended(record, answer)
        assert isinstance(answer, Awaitable)
        return self._later(record, answer)

    def malformed(self, request: Request, status: int, detail: str) -> Answer:
        record = self._begun(request)
        return self._ended(record, self._app.malformed(request, status, detail))

    async def _later(self, record: Record, coming: Awaitable[Answer]) -> Answer:
        answer: Answer | None = None
        try:
            answer = await coming
        finally:
            if answer is None:  # its caller has left
                self._observer.end(record, 499, 0)
        return self._ended(record, answer)

    def _begun(self, request: Request) -> Record:
        if request.record is None:
            headers = request.headers
            record = self._observer.begin(
                request.method.decode("latin-1"),
                request.path if request.target else "",
                request.started,
                headers.get(b"x-request-id"),
                headers.get(b"traceparent"),
            )
            record.address = address(headers.get(b"x-forwarded-for"), request.peer)
            request.record = record
        return request.record

    def _ended(self, record: Record, answer: Answer) -> Answer:
        record.reason = answer.reason
        if answer.status != 200 or record.path not in _PROBES:
            self._observer.end(record, answer.status, len(answer.body))
        answer.headers += ((b"x-request-id", record.id.encode()),)
        return answer
