"""A request's body as a question to the model, and the model's outputs as an answer: one class for each protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from modelyard_api.errors import MalformedRequest, TooLarge, Unsupported
from modelyard_server import binary, invocations, v2
from modelyard_server.dataplane import Contract, rows
from modelyard_server.fast import Ask, Reader
from modelyard_server.flavors.base import Columns, Outputs
from modelyard_server.web.messages import OCTETS, Answer, Request

_JSON_KINDS = ("application/json", "", "application/x-www-form-urlencoded", "application/octet-stream")


@dataclass(slots=True)
class Question:
    """Checked columns; `asked`: what V2's request wants, `params` those of `/invocations`."""

    columns: Columns
    rows: int
    asked: Ask | None = None
    params: Any = None


class Codec:
    """Reads and writes both protocols for one model."""

    def __init__(self, contract: Contract, name: str, version: str, max_rows: int) -> None:
        self._contract = contract
        self._signature = contract.manifest.signature
        self._names = (name, version)
        self._reader = Reader(self._signature)
        self._max_rows = max_rows

    def read(self, request: Request, body: bytes, *, invoked: bool) -> Question:
        """Raises what is wrong with the request: MalformedRequest, InvalidInput, TooLarge, Unsupported."""
        kind = request.headers.get(b"content-type", b"application/json")
        if kind != b"application/json":
            plain = kind.decode("latin-1").partition(";")[0].strip().lower()
            if invoked and plain == "text/csv":
                return self._checked(Question(invocations.decode_csv(_utf8(body), self._signature), 0), checked=False)
            if plain not in _JSON_KINDS:
                raise Unsupported(
                    f"content type {plain[:80]!r}", remedy="Send application/json, or text/csv to /invocations."
                )
        return self._invoked(body) if invoked else self._v2(request, body)

    def write(self, question: Question, outputs: Outputs) -> Answer:
        """Raises InvalidInput and MalformedRequest where the request asked for what there is not."""
        if question.asked is None:
            document = invocations.encode(outputs, question.params)
            parts: list[bytes] = []
        else:
            document, parts = v2.encode(self._names, outputs, question.asked, self._contract.manifest.classes)
        if not parts:
            return Answer(200, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
        body, head = binary.join(document, parts)
        return Answer(200, body, OCTETS, ((b"inference-header-content-length", b"%d" % head),))

    def _v2(self, request: Request, body: bytes) -> Question:
        length = request.headers.get(b"inference-header-content-length")
        head, tail = (body, None) if length is None else binary.divide(body, length.decode("latin-1"))
        fast = self._reader.v2(head, None if tail is None else binary.Tail(tail))
        if fast is not None:
            return self._checked(Question(fast[0], 0, fast[1]))
        document = _json(head)
        columns = v2.decode(document, None if tail is None else binary.Tail(tail))
        return self._checked(Question(columns, 0, v2.ask(document)), checked=False)

    def _invoked(self, body: bytes) -> Question:
        fast = self._reader.invocations(body)
        if fast is not None:
            return self._checked(Question(fast[0], 0, None, fast[1].params))
        document = _json(body)
        columns = invocations.decode(document, self._signature)
        return self._checked(Question(columns, 0, None, document.get("params")), checked=False)

    def _checked(self, question: Question, *, checked: bool = True) -> Question:
        if not checked:
            question.columns = self._contract.check(question.columns)
        question.rows = rows(question.columns)
        if question.rows > self._max_rows:
            raise TooLarge(f"{question.rows} rows", remedy=f"Send at most {self._max_rows} at once.")
        return question


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            f"the body is not JSON: {error}", remedy="JSON has no NaN and no Infinity: send null for a missing value."
        ) from None
