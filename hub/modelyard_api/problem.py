"""Problem documents (RFC 9457): how an error of the tree travels over HTTP."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

from modelyard_api.errors import ModelyardError

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem document (RFC 9457) with the remedy as an extension member."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    remedy: str = Field(default="", description="What the caller can do about it.")
    code: str = Field(default="ModelyardError", description="The error's class name; stable.")


def of(error: ModelyardError) -> Problem:
    """The document of an error."""
    return Problem(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        remedy=error.remedy,
        code=type(error).__name__,
        **error.extra,
    )


def _tree(base: type[ModelyardError]) -> dict[str, type[ModelyardError]]:
    found = {base.__name__: base}
    for child in base.__subclasses__():
        found |= _tree(child)
    return found


def from_problem(problem: Problem) -> ModelyardError:
    """The error that a problem document stands for: by its code, else by its status."""
    classes = _tree(ModelyardError)
    kind = classes.get(problem.code)
    if kind is None or kind is ModelyardError:
        kind = next((c for c in classes.values() if c.status == problem.status), ModelyardError)
    error = kind(problem.detail or problem.title, remedy=problem.remedy, **(problem.model_extra or {}))
    error.status = problem.status
    return error
