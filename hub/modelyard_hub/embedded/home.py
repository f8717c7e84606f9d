"""The state folder: made, checked, locked; its ports and secrets."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from modelyard_api.errors import Conflict, ModelyardError, StorageFull
from modelyard_hub.settings import Settings


@dataclass(frozen=True)
class Ports:
    """Loopback ports of what the router reaches."""

    hub: int
    service: int
    mlflow: int
    traefik_api: int


@dataclass(frozen=True)
class Secrets:
    """Made once per state folder, kept in it with mode 0600."""

    user_password: str
    admin_password: str
    service_token: str
    cli_token: str
    routing_token: str
    cookie_secret: str


def prepare(home: Path) -> None:
    """Make the folder and prove that it can be written. Raises ModelyardError naming the folder and the setting."""
    try:
        for folder in (home, home / "logs", home / "secrets", home / "users", home / "mlflow" / "artifacts"):
            folder.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # it holds passwords, tokens and everybody's work
        probe = home / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise ModelyardError(
            f"the state folder {home} cannot be written: {error.strerror}.",
            remedy="Set MODELYARD_HOME to a folder that you may write.",
        ) from error


@contextmanager
def locked(home: Path, url: str) -> Iterator[None]:
    """Hold the folder for this process, which answers at `url`. Raises Conflict naming the process that holds it."""
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Conflict(
                f"Modelyard already runs from {home}: process {holder}.",
                remedy="Use that one, stop it with Ctrl-C, or set MODELYARD_HOME to another folder.",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}, {url}")
        file.flush()
        yield


def check_port(settings: Settings) -> None:
    """Raises Conflict when the router's port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Conflict(
                f"port {settings.port} on {settings.host} cannot be used: {error.strerror}{_holder(settings.port)}.",
                remedy="Stop what uses it, or set MODELYARD_PORT to another port.",
            ) from error


def _holder(port: int) -> str:
    """Who listens on a port, where this account may know."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp")):
                return f" by {process.info['name']} (process {process.pid})"
    return ""


def choose_ports(home: Path) -> Ports:
    """Ports that nobody holds now, all different; those of the last start where they are free.

    A notebook server that outlived a crash knows the hub by its port.
    """
    try:
        before = [int(port) for port in Ports(**json.loads((home / "ports.json").read_text())).__dict__.values()]
    except (OSError, ValueError, TypeError):
        before = [0, 0, 0, 0]
    with ExitStack() as stack:
        return Ports(*(stack.enter_context(_hold(port)).getsockname()[1] for port in before))


def _hold(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def load_secrets(home: Path) -> Secrets:
    """The folder's secrets, made where there are none."""
    path = home / "secrets" / "secrets.json"
    if path.exists():
        return Secrets(**json.loads(path.read_text()))
    made = Secrets(
        user_password=secrets.token_urlsafe(12),
        admin_password=secrets.token_urlsafe(32),
        service_token=secrets.token_hex(32),
        cli_token=secrets.token_hex(32),
        routing_token=secrets.token_hex(32),
        cookie_secret=secrets.token_hex(32),
    )
    write_private(path, json.dumps(asdict(made), indent=2))
    return made


def secrets_of(settings: Settings) -> Secrets:
    """The secrets that the settings name: of a folder with a file for each, else of the state folder."""
    if settings.secrets is None:
        return load_secrets(settings.home)
    try:
        return Secrets(**{f.name: (settings.secrets / f.name).read_text().strip() for f in fields(Secrets)})
    except OSError as error:
        raise ModelyardError(
            f"the secret {error.filename} cannot be read: {error.strerror}",
            remedy=f"The folder holds the files {', '.join(f.name for f in fields(Secrets))}.",
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, mode 0600. Raises StorageFull."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageFull(f"{path} cannot be written: {error.strerror}") from error
