"""JupyterHub's session, after its database was away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from harness import postgres
from modelyard_hub.jupyterhub_store import renew


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres.server() as server:
        yield server.database()


@pytest.fixture
def session(url: str) -> Iterator[Any]:
    """JupyterHub's own kind, in a transaction, as it is after a request that read something."""
    made = orm.new_session_factory(url)()
    assert orm.User.find(made, "ada") is None
    assert made.in_transaction()
    yield made
    made.close()
    made.bind.dispose()


def cut(url: str) -> None:
    """End all connections of others to the database, as its restart does."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


def test_without_it_the_first_question_after_an_outage_fails(session: Any, url: str) -> None:
    cut(url)
    with pytest.raises(OperationalError):
        orm.User.find(session, "ada")
    session.rollback()


def test_a_dead_connection_is_given_up_before_anybody_asks(session: Any, url: str) -> None:
    cut(url)
    assert renew(session)
    assert orm.User.find(session, "ada") is None


def test_a_transaction_that_goes_on_keeps_what_it_was_given(session: Any) -> None:
    session.add(orm.User(name="lin"))
    assert not renew(session)
    session.commit()
    assert orm.User.find(session, "lin") is not None


def test_nothing_is_asked_where_nothing_is_open(session: Any, url: str) -> None:
    session.commit()
    cut(url)
    assert not renew(session)
    assert orm.User.find(session, "ada") is None
