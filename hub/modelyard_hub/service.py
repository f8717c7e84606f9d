"""The HTTP face of the hub service: every route, the error answers, the OpenAPI document. No part is made here."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import Lifespan

from modelyard_api import __version__
from modelyard_api.problem import Problem
from modelyard_hub.api import (
    endpoints,
    events,
    groups,
    internal,
    keys,
    me,
    observe,
    problems,
    profiles,
    runs,
    schedules,
    secrets,
    servers,
    snapshots,
    volumes,
)
from modelyard_hub.api.body_limit import BodyLimit
from modelyard_hub.panel import actions, routes
from modelyard_hub.parts import scheme

_DESCRIPTION = """Models from notebooks as REST endpoints.

Send a JupyterHub token as `Authorization: Bearer …`. Resources have a `spec` (desired) and a `status` (observed); a
change needs `If-Match` with the ETag that was read. Errors are problem documents (RFC 9457) that name the remedy.
"""
_TAGS = [
    {"name": "endpoints", "description": "Stable URLs with revisions and traffic."},
    {"name": "keys", "description": "Named keys for callers that have no account."},
    {"name": "runs", "description": "Notebooks and scoring jobs, executed once, to their end."},
    {"name": "groups", "description": "Sweeps and pipelines: runs that are queued together."},
    {"name": "identity", "description": "Who the caller is."},
    {"name": "profiles", "description": "Sizes and kinds to choose from."},
    {"name": "schedules", "description": "Cron lines that create runs."},
    {"name": "secrets", "description": "Named values for runs, which nobody reads back."},
    {"name": "servers", "description": "Notebook servers, what they wait for, and their sizes."},
    {"name": "volumes", "description": "Disks of notebook servers, their snapshots, and the trash."},
    {"name": "events", "description": "Changes, as they happen."},
    {"name": "audit", "description": "Who did what, when, from where."},
    {"name": "internal", "description": "For the router and the supervisor."},
]


def build(
    root: str, max_body: int, lifespan: Lifespan[FastAPI] | None = None, *, largest_snapshot: int | None = None
) -> FastAPI:
    """The application below the path `root`; `app.state.parts` is set by whoever has the parts.

    `max_body` in bytes; `largest_snapshot`: of a snapshot, which may be larger.
    """
    app = FastAPI(
        title="Modelyard",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{root}/api/openapi.json",
        openapi_tags=_TAGS,
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    problems.install(app)
    streamed = {f"{root}/api/v1/snapshots/": largest_snapshot or max_body}
    app.add_middleware(BodyLimit, limit=max_body, streamed=streamed)
    rest = APIRouter(prefix=f"{root}/api/v1", dependencies=[Depends(scheme)])
    for part in (
        endpoints,
        keys,
        snapshots,
        runs,
        groups,
        observe,
        me,
        profiles,
        schedules,
        secrets,
        servers,
        volumes,
        events,
    ):
        rest.include_router(part.router)
    rest.include_router(schedules.hooks)
    app.include_router(rest)
    app.include_router(internal.router, prefix=root)
    app.include_router(routes.router, prefix=root)
    app.include_router(actions.router, prefix=root)
    _describe_problem(app)
    return app


def _describe_problem(app: FastAPI) -> None:
    """Put `Problem` among the schemas that the routes' errors refer to, in FastAPI's place of its own error."""
    made = app.openapi

    def openapi() -> dict[str, object]:
        document = made()
        schemas = document["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
