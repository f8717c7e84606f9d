"""The chart on a real cluster: people sign in and get a notebook server, which outlives what is upgraded or killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from harness.release import Release
from harness.wait import eventually

pytestmark = pytest.mark.timeout(1200)
USER = "ada"


@pytest.fixture(scope="module")
def lab(installed: Release) -> Iterator[str]:
    """JupyterLab's page of a user whose notebook server runs."""
    with installed.browser(USER) as browser:
        yield installed.spawn(browser, USER)


def answers(url: str, user: str = USER) -> bool:
    """Whether a notebook server answers at a router, and nothing in its place."""
    answer = httpx.get(f"{url}/user/{user}/api", timeout=10, trust_env=False)
    return answer.status_code == 200 and "version" in answer.json()


@contextmanager
def watched(url: str) -> Iterator[list[str]]:
    """What somebody saw who asks the notebook server all the time, as far as it was no answer of it."""
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            try:
                if not answers(url):
                    wrong.append("something else answered")
            except (httpx.TransportError, ValueError) as error:
                wrong.append(repr(error))

    thread = threading.Thread(target=ask, name="caller")
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join(30)


def test_the_charts_own_test_passes(installed: Release) -> None:
    assert "Succeeded" in installed.helm("test", "modelyard")


def test_a_user_signs_in_and_sees_jupyterlab(lab: str) -> None:
    assert "JupyterLab" in lab


def test_a_wrong_password_is_refused(installed: Release) -> None:
    with pytest.raises(AssertionError), installed.browser("eve", "wrong"):
        pass


def test_the_pod_is_the_owners_bounded_and_a_stranger_in_the_cluster(installed: Release, lab: str) -> None:
    assert len(installed.notebooks(USER)) == 1
    assert installed.in_notebook(USER, "id", "-u").strip() == "1000"
    sized = installed.in_notebook(USER, "df", "--block-size=M", "--output=size", "/dev/shm").split()
    assert sized[-1] == "128M"
    environment = installed.in_notebook(USER, "env")
    assert f"MODELYARD_URL={installed.url}\n" in environment
    assert "MODELYARD_INNER_URL=http://modelyard-inner\n" in environment
    assert "MODELYARD_SERVICE_PORT" not in environment
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert installed.in_notebook(USER, "sh", "-c", f"test -e {token} || echo none").strip() == "none"


def test_the_home_is_a_volume_with_the_example_notebooks(installed: Release, lab: str) -> None:
    assert "01-train-and-publish.ipynb" in installed.in_notebook(USER, "ls", "/home/jovyan/notebooks")
    claims = installed.cluster.get("pvc", namespace=installed.namespace)["items"]
    labels = [claim["metadata"].get("labels", {}) for claim in claims]
    homes = [(of.get("modelyard.dev/owner"), of.get("modelyard.dev/volume")) for of in labels]
    assert (USER, "home") in homes


def test_the_library_reaches_the_hub_service_and_mlflow_from_a_pod(installed: Release, lab: str) -> None:
    asked = (
        "import httpx; from modelyard.config import connection; c = connection();"
        "h = {'Authorization': f'Bearer {c.token}'};"
        "print(httpx.get(f'{c.api}/me', headers=h).json()['username'],"
        " httpx.get(f'{c.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0', headers=h).status_code)"
    )
    assert installed.in_notebook(USER, "python", "-c", asked).split() == [USER, "200"]


def test_the_library_grows_the_home_that_it_works_in(installed: Release, lab: str) -> None:
    grown = (
        "import modelyard as yard; home = yard.volume(); before = home.status.size; home.grow(2 * before, wait=90);"
        "print(home.status.size // before, home.usage.total > 1.5 * before, len(home.status.mounted_by),"
        " [v.name for v in yard.volumes()])"
    )
    assert installed.in_notebook(USER, "python", "-c", grown).split() == ["2", "True", "1", "['home']"]
    # Its notebook server has said how full it is when it started.
    used = "import modelyard as yard; print(yard.volume().status.used)"
    assert int(installed.in_notebook(USER, "python", "-c", used)) > 0


def test_each_router_has_every_route(installed: Release, lab: str) -> None:
    addresses = [pod["status"]["podIP"] for pod in installed.pods("traefik")]
    assert len(addresses) == 2
    for address in addresses:
        assert answers(f"http://{address}:8000"), address


@pytest.mark.parametrize("component", ["hub", "service", "mlflow"])
def test_a_notebook_server_answers_while_this_is_killed(installed: Release, lab: str, component: str) -> None:
    with watched(installed.url) as wrong:
        installed.kill(component)
    assert not wrong, (len(wrong), wrong[:3])


def test_routers_that_start_anew_have_the_routes_before_they_are_asked(installed: Release, lab: str) -> None:
    installed.kill("traefik")
    eventually(lambda: answers(installed.url), timeout=30, what="it answers")


def test_an_upgrade_keeps_secrets_notebooks_and_answers(installed: Release, lab: str) -> None:
    before = {key: installed.secret(key) for key in ("user_password", "cookie_secret", "signing.pem")}
    (pod,) = installed.notebooks(USER)
    with watched(installed.url) as wrong:
        installed.install(group="everybody", traefik={**installed.values()["traefik"], "trustedProxies": ["192.0.2.1"]})
    assert not wrong, (len(wrong), wrong[:3])
    assert {key: installed.secret(key) for key in before} == before
    assert [p["metadata"]["uid"] for p in installed.notebooks(USER)] == [pod["metadata"]["uid"]]


def test_a_stopped_server_is_gone_and_its_home_is_not(installed: Release, lab: str) -> None:
    installed.in_notebook(USER, "touch", "/home/jovyan/kept")
    with installed.browser(USER) as browser:
        headers = {"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/") or ""}
        browser.delete(f"/hub/api/users/{USER}/server", headers=headers).raise_for_status()
        eventually(lambda: not installed.notebooks(USER), timeout=90, what="the pod is gone")
        installed.spawn(browser, USER)
    assert "kept" in installed.in_notebook(USER, "ls", "/home/jovyan")
