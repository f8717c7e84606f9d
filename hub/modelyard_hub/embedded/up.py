"""What `make up` does, from the checks to the sign-in that it prints."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from rich.console import Console

from modelyard_hub.embedded.home import (
    Secrets,
    check_port,
    choose_ports,
    load_secrets,
    locked,
    prepare,
    write_private,
)
from modelyard_hub.embedded.processes import end_notebooks, end_recorded
from modelyard_hub.embedded.siblings import Installation, siblings, traefik_static
from modelyard_hub.embedded.supervisor import Supervisor
from modelyard_hub.runtimes.local.stop import stop_everything
from modelyard_hub.settings import Settings
from modelyard_hub.signing import load_or_make

_TRUST = (
    "For people who trust each other: all notebook servers and models run as this account, one password serves all "
    "users, and everything listens on {host}."
)


@dataclass
class Screen:
    """What the terminal shows: a line a change, no more."""

    console: Console
    started: float

    def progress(self, name: str, state: str) -> None:
        """A sibling's change of state."""
        mark = {"ready": "[green]✓[/]", "stopped": "[dim]■[/]"}.get(
            state, "[red]![/]" if "died" in state else "[dim]…[/]"
        )
        self.console.print(
            f" {mark} {name:<11} {state} [dim]{time.monotonic() - self.started:.1f} s[/]", highlight=False
        )


def up(settings: Settings, console: Console) -> None:
    """Run until Ctrl-C or SIGTERM. Raises ModelyardError with one clear line when it cannot start."""
    prepare(settings.home)
    with locked(settings.home, settings.base_url):
        for name in end_recorded(settings.home):
            console.print(f" … ended {name}, left over from a start that was killed")
        check_port(settings)
        asyncio.run(_run(settings, Screen(console, time.monotonic())))


async def _run(settings: Settings, screen: Screen) -> None:
    secrets, ports = load_secrets(settings.home), choose_ports(settings.home)
    _write_keys(settings)
    write_private(settings.home / "ports.json", json.dumps(vars(ports)))
    write_private(settings.home / "traefik.yaml", json.dumps(traefik_static(settings, ports, secrets), indent=2))
    supervisor = Supervisor(settings.home, siblings(settings, ports, secrets, Installation.current()), screen.progress)
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    screen.console.print(f"Starting Modelyard in {settings.home}", highlight=False)
    try:
        starting = asyncio.create_task(_start(supervisor, settings), name="start")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _announce(settings, secrets, screen)
            await stop.wait()
        starting.cancel()
        stopping.cancel()
    finally:
        screen.console.print("Stopping")
        await supervisor.stop()
        end_notebooks(settings.home)
        await asyncio.to_thread(stop_everything, settings.home, settings.drain_timeout)
        screen.console.print("Stopped; endpoints come back with the next start.")


async def _start(supervisor: Supervisor, settings: Settings) -> None:
    await supervisor.start()
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        for path in ("/hub/login", "/services/modelyard/health", "/mlflow/"):
            await _routed(client, f"http://{settings.host}:{settings.port}{path}")


async def _routed(client: httpx.AsyncClient, url: str) -> None:
    """Wait until the router passes a path on: 404 and 5xx come from the router while it has no route yet."""
    async with asyncio.timeout(60):
        while True:
            try:
                status = (await client.get(url)).status_code
                if status != 404 and status < 500:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def _write_keys(settings: Settings) -> None:
    path = settings.home / "secrets" / "signing.pem"
    load_or_make(path)
    public = load_pem_private_key(path.read_bytes(), password=None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(settings.home / "secrets" / "signing.pub", pem.decode())


def _announce(settings: Settings, secrets: Secrets, screen: Screen) -> None:
    sign_in = {
        "url": settings.base_url,
        "username": settings.username,
        "password": secrets.user_password,
        "admin_username": settings.admin_username,
        "admin_password": secrets.admin_password,
    }
    write_private(settings.home / "sign-in.json", json.dumps(sign_in, indent=2))
    line = screen.console.print
    line()
    line(f"[bold]Modelyard answers at[/] [link={settings.base_url}]{settings.base_url}[/]", highlight=False)
    line(f"  user           {settings.username}  (any other name works too)", highlight=False)
    line(f"  password       {secrets.user_password}", highlight=False, markup=False)
    line(f"  administrator  {settings.admin_username}", highlight=False)
    line(f"  password       {secrets.admin_password}", highlight=False, markup=False)
    line(f"  also in        {settings.home / 'sign-in.json'}", highlight=False)
    line()
    line(_TRUST.format(host=settings.host), highlight=False)
    line("Ctrl-C stops everything.")
