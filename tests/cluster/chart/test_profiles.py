"""A profile on a real cluster: the page with the quota, and the pod with the sizes that were chosen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.release import Release
from harness.wait import eventually

pytestmark = pytest.mark.timeout(1200)
USER = "pia"
QUOTA = "sizes"


@pytest.fixture(scope="module")
def quota(installed: Release) -> Iterator[None]:
    """A quota that is far from used up, and counted."""
    installed.kubectl("create", "quota", QUOTA, "--hard=requests.memory=64Gi,limits.cpu=100")
    eventually(
        lambda: installed.cluster.get("resourcequota", QUOTA, installed.namespace)["status"]["used"]["requests.memory"],
        what="the quota is counted",
    )
    yield
    installed.kubectl("delete", "quota", QUOTA)


@pytest.fixture(scope="module")
def running(installed: Release, quota: None) -> Iterator[str]:
    """The spawn page before a server was started with 512 MiB of shared memory."""
    with installed.browser(USER) as browser:
        page = browser.get("/hub/spawn").text
        assert "JupyterLab" in installed.spawn(browser, USER, memory="1Gi", shm="512Mi", cpu="1.5")
        yield page


def test_the_page_knows_the_quota_and_what_is_free(running: str) -> None:
    assert f"the quota {QUOTA}" in running
    assert '"total": 68719476736.0' in running
    assert ", the one with the most" in running
    assert 'name="shm"' in running
    assert "Your home is a volume" not in running


def test_the_pod_is_of_the_chosen_sizes(installed: Release, running: str) -> None:
    (pod,) = (p for p in installed.pods("notebook") if p["metadata"]["labels"]["modelyard.dev/owner"] == USER)
    assert pod["metadata"]["labels"]["modelyard.dev/profile"] == "small"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1500m", "memory": str(1 << 30)}
    assert installed.in_notebook(USER, "df", "--block-size=M", "--output=size", "/dev/shm").split()[-1] == "512M"
    environment = installed.in_notebook(USER, "env")
    for line in ("MODELYARD_PROFILE=small", "CPU_LIMIT=1.5", "OMP_NUM_THREADS=1", f"MODELYARD_SHM={512 << 20}"):
        assert f"{line}\n" in environment


def test_shared_memory_ends_at_its_size(installed: Release, running: str) -> None:
    fill = "head -c 600M /dev/zero > /dev/shm/full; stat -c %s /dev/shm/full; rm /dev/shm/full"
    written = installed.in_notebook(USER, "sh", "-c", f"({fill}) 2>&1")
    assert "No space left on device" in written
    assert written.split()[-1] == str(512 << 20)


RESIZE = """
import modelyard as yard
print(yard.resize(memory="1536Mi").memory)
held = b"x" * (950 << 20)
try:
    yard.resize(memory="1Gi")
except yard.ModelyardError as error:
    print(error)
print(yard.server_size().memory)
del held
print(yard.resize(memory="1Gi").memory)
"""


def test_a_user_gets_another_size_out_of_the_server_itself(installed: Release, running: str) -> None:
    more, refused, still, less = installed.in_notebook(USER, "python", "-c", RESIZE).strip().splitlines()
    assert (int(more), int(still), int(less)) == (1536 << 20, 1536 << 20, 1 << 30)
    assert refused.startswith("memory: 1 GiB are too little for what the server uses, ")
    (pod,) = (p for p in installed.pods("notebook") if p["metadata"]["labels"]["modelyard.dev/owner"] == USER)
    (container,) = pod["status"]["containerStatuses"]
    assert (container["restartCount"], container["resources"]["limits"]["memory"]) == (0, "1Gi")


def test_a_choice_that_is_not_allowed_starts_nothing(installed: Release, running: str) -> None:
    with installed.browser("zoe") as browser:
        page = browser.get("/hub/spawn", params={"opt-profile": "small", "opt-memory": "1Ti"})
        assert page.status_code == 400
        assert "memory: 1 TiB is not what profile &#39;small&#39; allows" in page.text
    assert "zoe" not in {p["metadata"]["labels"]["modelyard.dev/owner"] for p in installed.pods("notebook")}
