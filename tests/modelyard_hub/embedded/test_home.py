"""The state folder: what is refused and in which words, and what stays the same from start to start."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from modelyard_api.errors import Conflict, ModelyardError
from modelyard_hub.embedded.home import (
    check_port,
    choose_ports,
    load_secrets,
    locked,
    prepare,
)
from modelyard_hub.settings import Settings


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ModelyardError, match=r"cannot be written.*MODELYARD_HOME") as error:
        prepare(blocked / "home")
    assert str(blocked) in str(error.value)


def test_the_folder_is_private(tmp_path: Path) -> None:
    prepare(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert load_secrets(tmp_path) == load_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets" / "secrets.json").stat().st_mode) == 0o600


def test_a_second_start_names_the_first(tmp_path: Path) -> None:
    with (
        locked(tmp_path, "http://127.0.0.1:8000"),
        pytest.raises(Conflict, match=r"process \d+, http://127.0.0.1:8000"),
        locked(tmp_path, "http://127.0.0.1:9000"),
    ):
        pass
    with locked(tmp_path, "http://127.0.0.1:9000"):
        assert "9000" in (tmp_path / "lock").read_text()


def test_a_port_in_use_names_the_setting_and_who_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(home=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(Conflict, match=rf"port {settings.port} .*by .*process.*MODELYARD_PORT"):
            check_port(settings)


def test_ports_stay_where_they_are_free(tmp_path: Path) -> None:
    first = choose_ports(tmp_path)
    (tmp_path / "ports.json").write_text(json.dumps(vars(first)))
    assert choose_ports(tmp_path) == first
    with socket.create_server(("127.0.0.1", first.hub)):
        second = choose_ports(tmp_path)
    assert second.hub != first.hub
    assert second.mlflow == first.mlflow
    assert len(set(vars(second).values())) == 4
