"""A real S3 server of the tests' own: the Versity gateway over a folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from harness.golang import go_tool
from harness.traefik import free_port
from harness.wait import eventually

_MODULE = Path(__file__).parent / "s3gateway"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_KEY, _SECRET = "modelyard", "of-the-tests-alone"


@dataclass
class S3:
    """A running server. Objects lie as files below `root/<bucket>`."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client is told."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        program = go_tool(_MODULE, _PACKAGE)
        data, beside = self.root / "data", self.root / "metadata"
        for folder in (data, beside):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                # Metadata beside the objects: not every file system takes extended attributes.
                [program, "--port", f"{self.host}:{self.port}", "posix", "--sidecar", str(beside), str(data)],
                env={"PATH": os.defpath, "ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _SECRET},
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, timeout=30, what=f"the S3 server: {self.root / 'log'}")

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def bucket(self, name: str) -> S3Store:
        """A bucket, made where it is not there yet."""
        (self.root / "data" / name).mkdir(exist_ok=True)
        return S3Store(
            name,
            endpoint=self.url,
            region="us-east-1",
            access_key_id=_KEY,
            secret_access_key=_SECRET,
            client_options={"allow_http": True},
        )

    def put(self, bucket: str, key: str, files: Mapping[str, bytes]) -> str:
        """Objects below a key; its URL."""
        store = self.bucket(bucket)
        for path, content in files.items():
            obstore.put(store, f"{key}/{path}", content)
        return f"s3://{bucket}/{key}"

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "log").read_text()
        return httpx.get(self.url, trust_env=False).status_code > 0


@contextmanager
def server(host: str = "127.0.0.1") -> Iterator[S3]:
    """Start a server with a folder of its own; both are gone at the end. `host`: an address of this machine."""
    with tempfile.TemporaryDirectory(prefix="modelyard-s3-") as folder:
        made = S3(Path(folder), free_port(), host=host)
        made.start()
        try:
            yield made
        finally:
            made.stop()
