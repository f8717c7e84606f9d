"""Rows out of a database. The result of the query is first kept beside the output, as Parquet: a database gives no
second reader the same rows, so whoever goes on after a kill reads what was kept.

Of two that ask for one scoring, such as an attempt and one before it that was given up and is not dead, each writes a
file of its own. Which one is scored is in a small file that is written on the condition that there is none.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.batch.scoring.place import File, Place, making
from modelyard.batch.scoring.plan import tagged
from modelyard.batch.scoring.state import INPUT, Claim, document
from modelyard_api.errors import Conflict, InvalidInput, Unavailable, Unsupported
from modelyard_api.models import ColumnKind, PackageManifest, TensorSpec
from modelyard_api.scoring import DataFormat, ScoreOptions

FORMAT = DataFormat.parquet
_ROWS = 20_000
_GROUP = 200_000
_OWN = 8


def result(query: str, options: ScoreOptions, manifest: PackageManifest, claim: Claim) -> tuple[Place, list[File]]:
    """The kept result of the query, below the output that is claimed.

    InvalidInput for a query that the database refuses, and without a URL; Unavailable where it does not answer.
    """
    output, pointer = claim.place, f"{INPUT}/{tagged('query.json', claim.tag)}"
    kept = document(output, pointer)
    if kept is None:
        url = os.environ.get(options.sql, "")
        if not url:
            raise InvalidInput(
                f"the variable {options.sql} with the database's URL is not set",
                remedy="Give the run a secret: secrets={'NAME OF THE SECRET': '" + options.sql + "'}.",
            )
        path = f"{INPUT}/{tagged(f'query-{uuid.uuid4().hex[:_OWN]}.parquet', claim.tag)}"
        _keep(_rows(url, query), manifest.signature.inputs, output, path)
        claim.keep([path])
        output.swap(pointer, json.dumps({"path": path}), None)
        kept = document(output, pointer)  # says who was first, also where the store answered an error and did it
        if kept is not None and kept["path"] == path:
            claim.keep([pointer, path])
        else:
            output.remove(path)
    found = [file for file in output.files(INPUT) if kept is not None and file.path == kept["path"]]
    if not found:  # who has the output now has cleared it away
        claim.check()
        raise Conflict("the result of the query is not there any more", remedy="Score again.")
    return output, found


def _keep(
    batches: Iterator[tuple[Sequence[str], list[Any]]], inputs: Sequence[TensorSpec], output: Place, target: str
) -> None:
    known = {spec.name: spec for spec in inputs}
    with making(output, target) as (path, file):
        writer: pq.ParquetWriter | None = None
        for names, rows in batches:
            columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
            if writer is None:
                fields = [pa.field(n, _type(known.get(n), c)) for n, c in zip(names, columns, strict=True)]
                schema = pa.schema(fields)
                writer = pq.ParquetWriter(file, schema, compression="zstd")
            arrays = [_array(field, values) for field, values in zip(schema, columns, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_GROUP)
        assert writer is not None, "one batch at least, of no rows"
        writer.close()
        file.flush()
        output.put(path, target)


def _type(spec: TensorSpec | None, values: Sequence[Any]) -> pa.DataType:
    """A column's type: what the model takes, or what the first rows hold."""
    if spec is not None and spec.kind is ColumnKind.number:
        return pa.int64() if np.dtype(spec.dtype.lower()).kind in "iu" else pa.float64()
    if spec is not None and spec.kind is ColumnKind.boolean:
        return pa.bool_()
    first = next((value for value in values if value is not None), None)
    for kind, chosen in (
        (bool, pa.bool_()),
        (int, pa.int64()),
        ((float, Decimal), pa.float64()),
        (datetime, pa.timestamp("us")),
        (date, pa.date32()),
        (bytes, pa.binary()),
    ):
        if isinstance(first, kind):
            return chosen
    return pa.string()


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    wanted = field.type
    if pa.types.is_floating(wanted):
        values = [float(v) if isinstance(v, (Decimal, int)) and not isinstance(v, bool) else v for v in values]
    elif pa.types.is_boolean(wanted):  # SQLite has none
        values = [bool(v) if isinstance(v, int) else v for v in values]
    elif pa.types.is_string(wanted):
        values = [v if v is None or isinstance(v, str) else str(v) for v in values]
    try:
        return pa.array(values, type=wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(
            f"column {field.name!r} of the query's result does not hold {wanted} only: {error}"
        ) from error


def _rows(url: str, query: str) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """The result in batches, each with the columns' names. Read as it comes, where the database's driver can."""
    try:
        import sqlalchemy as sa
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
    except ModuleNotFoundError as error:
        raise Unsupported("SQLAlchemy is not installed here", remedy="pip install 'modelyard[sql]'.") from error
    try:
        engine = sa.create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        # Not the URL: it holds a password.
        raise InvalidInput(f"the database's URL cannot be used: {type(error).__name__}: {_brief(error, url)}") from None
    try:
        with engine.connect().execution_options(stream_results=True, max_row_buffer=_ROWS) as connection:
            found = connection.execute(sa.text(query))
            if not found.returns_rows:
                raise InvalidInput("the query gives no rows", remedy="Give one that begins with SELECT.")
            names = list(found.keys())
            yield names, list(found.fetchmany(_ROWS))
            while rows := found.fetchmany(_ROWS):
                yield names, list(rows)
    except DBAPIError as error:
        kind = Unavailable if error.connection_invalidated or "connect" in str(error.orig).lower() else InvalidInput
        raise kind(f"the database says: {_brief(error.orig, url)}") from None
    except SQLAlchemyError as error:
        raise InvalidInput(f"the query cannot be asked: {_brief(error, url)}") from None
    finally:
        engine.dispose()


def _brief(error: object, url: str) -> str:
    return " ".join(str(error).split())[:300].replace(url, "…")
