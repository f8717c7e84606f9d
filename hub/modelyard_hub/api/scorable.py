"""Whether a table can be scored as a run says: what is wrong with it is said before it is queued."""

from __future__ import annotations

from pydantic import ValidationError

from modelyard_api.errors import InvalidInput
from modelyard_api.locations import parse_s3
from modelyard_api.runs import ScoreWork
from modelyard_api.scoring import ScoreOptions, parse_model
from modelyard_hub.registry import Registry


async def check_score(registry: Registry, owner: str, work: ScoreWork) -> None:
    """InvalidInput for options, locations, a model name; UnknownVersion for a version that is not there.

    The newest version, or one named by alias, is looked up when the run starts.
    """
    try:
        options = ScoreOptions.model_validate(work.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("spec.score.options", *first["loc"])))
        raise InvalidInput(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    for name in ("output",) if options.sql else ("data", "output"):
        location = getattr(work, name)
        if parse_s3(location) is None and not location.removeprefix("file://").startswith("/"):
            raise InvalidInput(f"spec.score.{name}: {location!r} is neither an absolute path nor s3://bucket/key")
    wanted = parse_model(work.model, owner)
    if wanted.version:
        await registry.resolve(wanted.name, wanted.version)
