"""The router serves a certificate: what a browser, a plain one and the pods get."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from harness.kubernetes.certificates import Authority
from harness.release import Release, sign_in
from harness.wait import eventually

pytestmark = pytest.mark.timeout(1200)
SECRET = "router-certificate"


@dataclass
class Secured:
    """A release whose router has a certificate of `authority`."""

    release: Release
    authority: Authority

    @property
    def url(self) -> str:
        return self.release.url.replace("http://", "https://")

    def give(self, name: str) -> None:
        """Make a certificate, and put it into the Secret."""
        pair = self.authority.sign(name, user=name, hosts=(self.release.cluster.node_ip,))
        texts = [base64.b64encode(path.read_bytes()).decode() for path in pair]
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "type": "kubernetes.io/tls",
            "data": dict(zip(("tls.crt", "tls.key"), texts, strict=True)),
        }
        self.release.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(secret))

    def browser(self) -> httpx.Client:
        """One that trusts the authority, and nobody else."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30, follow_redirects=True)

    def served(self) -> str:
        """The common name of the certificate that the router shows."""
        with self.browser() as browser, browser.stream("GET", "/hub/login") as answer:
            stream = answer.extensions["network_stream"].get_extra_info("ssl_object")
            return str(dict(field[0] for field in stream.getpeercert()["subject"])["commonName"])


@pytest.fixture(scope="module")
def secured(installed: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured(installed, Authority(tmp_path_factory.mktemp("tls"), "router"))
    made.give("first")
    installed.install(publicUrl=made.url, tls={"secretName": SECRET})
    yield made
    installed.install()


def test_a_browser_signs_in_over_tls_with_cookies_for_tls_alone(secured: Secured) -> None:
    def page() -> httpx.Response:
        with secured.browser() as browser:
            return browser.get("/hub/login").raise_for_status()

    eventually(page, timeout=60, interval=0.5, what="the sign-in page over TLS")
    with secured.browser() as browser:
        sign_in(browser, "tess", secured.release.secret("user_password"))
        assert {cookie.name for cookie in browser.cookies.jar} >= {"_xsrf", "jupyterhub-session-id"}
        assert [cookie.name for cookie in browser.cookies.jar if not cookie.secure] == []


def test_plain_http_is_sent_to_tls_and_pods_keep_their_own_way(secured: Secured) -> None:
    address = secured.release.pods("traefik")[0]["status"]["podIP"]
    sent = httpx.get(f"http://{address}:8001/hub/login?next=%2F", trust_env=False, timeout=10)
    assert sent.status_code in (301, 308)
    assert sent.headers["location"] == f"https://{address}/hub/login?next=%2F"
    assert httpx.get(f"http://{address}:8000/hub/login", trust_env=False, timeout=10).status_code == 200


def test_a_renewed_certificate_is_served_without_a_restart(secured: Secured) -> None:
    before = {pod["metadata"]["uid"] for pod in secured.release.pods("traefik")}
    assert secured.served() == "first"
    secured.give("second")
    eventually(lambda: {secured.served() for _ in range(6)} == {"second"}, timeout=180, interval=2, what="the new one")
    assert {pod["metadata"]["uid"] for pod in secured.release.pods("traefik")} == before
