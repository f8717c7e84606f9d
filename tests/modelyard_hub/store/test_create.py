"""A database that is missing, there, or not to be had."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, make_url

from harness.postgres import Postgres
from modelyard_api.errors import Unavailable
from modelyard_hub.store.create import create


def test_a_missing_one_is_made_and_one_that_is_there_is_left(postgres_server: Postgres) -> None:
    url = make_url(postgres_server.database()).set(database='odd "name')
    for _ in range(2):
        create(url.render_as_string(hide_password=False))
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW server_encoding").scalar() == "UTF8"
    engine.dispose()


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable, match="does not answer") as caught:
        create("postgresql+psycopg://yard:secret@127.0.0.1:9/modelyard", patience=0)
    assert "secret" not in str(caught.value)
