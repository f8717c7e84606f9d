"""JupyterHub's configuration, and what JupyterHub makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub._xsrf_utils import _set_xsrf_cookie
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler
from traitlets.config import Config

from modelyard_hub.embedded.home import prepare
from modelyard_hub.jupyterhub import configure
from modelyard_hub.settings import Settings


def test_the_hub_service_may_ask_who_is_in_which_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_HUB_PORT", "8081")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8082")
    prepare(tmp_path)
    config = Config()
    configure(config, Settings.model_validate({"home": tmp_path}))
    (scopes,) = (role["scopes"] for role in config.JupyterHub.load_roles if "modelyard" in role.get("services", ()))
    assert {"list:users", "read:users:groups", "tokens"} <= set(scopes)


@pytest.mark.parametrize(("url", "secure"), [("https://yard.example.com", True), ("http://127.0.0.1:8000", False)])
def test_where_users_have_tls_the_cookie_against_forged_forms_is_for_tls_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, secure: bool
) -> None:
    monkeypatch.setenv("MODELYARD_HUB_PORT", "8081")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8082")
    prepare(tmp_path)
    config = Config()
    configure(config, Settings.model_validate({"home": tmp_path, "public_url": url}))
    application = Application(**config.JupyterHub.get("tornado_settings", {}))
    connection = SimpleNamespace(set_close_callback=lambda callback: None)
    line = RequestStartLine("GET", "/hub/login", "HTTP/1.1")
    request = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "yard"}), connection=connection)  # type: ignore[arg-type]
    handler = RequestHandler(application, request)
    _set_xsrf_cookie(handler, b"session", cookie_path="/hub/", authenticated=False, xsrf_token="token")
    assert handler._new_cookie["_xsrf"]["secure"] is (True if secure else "")
