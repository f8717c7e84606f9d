"""From the click on a start to JupyterLab answering: ours against JupyterHub's own spawner and server, in turns.

    python tests/bench/spawn_speed.py [--runs 5]              on this machine, a Modelyard of its own
    python tests/bench/spawn_speed.py --cluster [--runs 5]    on that of MODELYARD_TEST_KUBECONFIG, or one of its own

Both are started by one JupyterHub behind one router, from one environment or image, and of one size. A user called
`stock-…` gets `SimpleLocalProcessSpawner` or `KubeSpawner` with their defaults and `jupyterhub-singleuser`, `ours-…`
what everybody gets. A client does what a browser does: asks for the start, follows redirects, listens to the page that
waits, goes where that sends it, signs in to the server by OAuth, and then asks for `/lab` and `/api/status`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import httpx  # noqa: E402

from harness import cluster as harness  # noqa: E402
from harness.release import release, sign_in  # noqa: E402
from harness.stack import BIN, Stack  # noqa: E402
from harness.wait import eventually  # noqa: E402

PHASES = {"told": "the page is told that it is ready", "lab": "/lab answers with 200", "status": "/api/status, too"}
EITHER = """
class Either(Theirs):
    def __new__(cls, user=None, **given):
        return (Stock if user.name.startswith("stock-") else Ours)(user=user, **given)

c.JupyterHub.spawner_class = Either
c.Stock.options_form = ""
c.Stock.apply_user_options = dict()
c.Stock.args = ["--allow-root"]
"""
LOCAL = f"""
from jupyterhub.spawner import SimpleLocalProcessSpawner as Theirs
from modelyard_hub.spawner.local import FolderSpawner as Ours
class Stock(Theirs):
    pass
{EITHER}
c.Stock.cmd = [{str(BIN / "jupyterhub-singleuser")!r}]
c.Stock.home_dir_template = {{home!r}} + "/users/{{{{username}}}}"
c.Stock.pre_spawn_hook = None
"""
PODS = f"""
from kubespawner import KubeSpawner as Theirs
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.kubernetes import PodSpawner as Ours, configure_pods
class Stock(Theirs):
    pass
configure_pods(c, Settings())
OWN = ("_timeout", "_template", "extra_labels")  # KubeSpawner's are used; it knows no {{owner}}
c.Stock.update({{name: value for name, value in c.PodSpawner.items() if not name.endswith(OWN)}})
{EITHER}
c.Stock.cmd = ["/opt/modelyard/bin/jupyterhub-singleuser"]
"""


@dataclass
class Click:
    """When each phase had ended, in seconds since the click."""

    began: float = field(default_factory=time.perf_counter)
    ended: dict[str, float] = field(default_factory=dict)

    def mark(self, phase: str) -> None:
        """Now."""
        self.ended.setdefault(phase, time.perf_counter() - self.began)


class Person:
    """A signed-in user in a browser."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.name = name
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=120, trust_env=False)
        sign_in(self.http, name, password)
        self.http.get("/hub/home").raise_for_status()

    def start(self, query: dict[str, str]) -> Click:
        """Click, and wait until JupyterLab answers."""
        click = Click()
        page = self.http.get("/hub/spawn", params=query)
        while "/hub/spawn-pending/" in page.url.path:
            page = self.http.get(self._told(page))
        click.mark("told")
        answer = self.http.get(f"/user/{self.name}/lab")
        assert answer.status_code == 200, (answer.url, answer.status_code, answer.text[:2000])
        assert answer.url.path.startswith(f"/user/{self.name}/lab"), answer.url
        assert "jupyter-config-data" in answer.text
        click.mark("lab")
        self.http.get(f"/user/{self.name}/api/status").raise_for_status()
        click.mark("status")
        return click

    def _told(self, page: httpx.Response) -> str:
        """Where the page that waits is sent, when it is."""
        found = re.search(r'EventSource\("([^"]+)"', page.text)
        assert found, page.text[:2000]
        with self.http.stream("GET", found[1].replace("&amp;", "&")) as events:
            for line in events.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                assert not told.get("failed"), told
                if told.get("ready"):
                    return str(told["url"])
        raise AssertionError(f"the start of {self.name} has no end")


@dataclass
class Place:
    """Where servers are started. `stop`: end a user's and wait; `query`: what ours is asked for."""

    url: str
    password: str
    stop: Callable[[str], None]
    query: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def local() -> Iterator[Place]:
    """A Modelyard on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        home, config = Path(folder) / "home", Path(folder) / "config"
        config.mkdir()
        (config / "either.py").write_text(LOCAL.format(home=str(home)))
        stack = Stack(home, MODELYARD_HUB_CONFIG=str(config)).wait_ready()
        try:
            with stack.hub() as hub:
                yield Place(stack.url, stack.sign_in["password"], lambda user: _stop(hub, user))
        finally:
            stack.stop()


@contextlib.contextmanager
def pods() -> Iterator[Place]:
    """The chart's release on a cluster."""
    hub_values = {"extraConfig": {"either.py": PODS}, "resources": {"requests": {"cpu": "20m"}}}
    with (
        harness.running() as cluster,
        release(cluster, f"bench-{uuid.uuid4().hex[:6]}", hub=hub_values) as made,
        httpx.Client(
            base_url=f"{made.url}/hub/api",
            headers={"Authorization": f"token {made.secret('cli_token')}"},
            timeout=60,
            trust_env=False,
        ) as hub,
    ):  # fmt: skip
        yield Place(made.url, made.secret("user_password"), lambda user: _stop(hub, user), {"opt-profile": "small"})


def _stop(hub: httpx.Client, user: str) -> None:
    """With a token of the user: the command line's may not."""
    scopes = [f"{scope}!user={user}" for scope in ("servers", "read:servers")]
    token = hub.post(f"/users/{user}/tokens", json={"scopes": scopes}).raise_for_status().json()["token"]
    headers = {"Authorization": f"token {token}"}
    hub.delete(f"/users/{user}/server", headers=headers).raise_for_status()
    eventually(
        lambda: not hub.get(f"/users/{user}", headers=headers).json()["servers"], timeout=90, what=f"{user} is stopped"
    )


def measure(place: Place, runs: int, between: float) -> tuple[list[Click], list[Click]]:
    """Ours and theirs, in turns after one start of each that does not count."""
    people = {kind: Person(place.url, f"{kind}-{n}", place.password) for n, kind in enumerate(("ours", "stock"))}
    found: dict[str, list[Click]] = {kind: [] for kind in people}
    for number in range(runs + 1):
        for kind, person in people.items():
            click = person.start(place.query if kind == "ours" else {})
            place.stop(person.name)
            time.sleep(between)  # what ends and what is made ready again takes the processor
            if number:
                found[kind].append(click)
                print(kind, {phase: round(seconds, 2) for phase, seconds in click.ended.items()}, flush=True)
    return found["ours"], found["stock"]


def report(title: str, ours: list[Click], theirs: list[Click]) -> None:
    """Medians of each phase, and the median of the pairs' ratios."""
    for phase, words in PHASES.items():
        pairs = [(a.ended[phase], b.ended[phase]) for a, b in zip(ours, theirs, strict=True)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        figures = f"ours {mine:.2f} s, stock {other:.2f} s, ratio {ratio:.2f} ({len(pairs)} pairs)"
        print(f"{title}, click until {words}: {figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--between", type=float, default=4.0, help="seconds of rest after each")
    parser.add_argument("--cluster", action="store_true")
    given: Any = parser.parse_args()
    where = pods if given.cluster else local
    with where() as place:
        report("pods" if given.cluster else "processes", *measure(place, given.runs, given.between))


if __name__ == "__main__":
    main()
