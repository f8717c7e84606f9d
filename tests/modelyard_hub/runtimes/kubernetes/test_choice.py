"""Which runtime the hub service gets, and what it costs who does not want this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modelyard_hub.app import make_runtime
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime
from modelyard_hub.runtimes.local import LocalRuntime
from modelyard_hub.settings import Settings


def test_the_settings_choose_the_runtime(tmp_path: Path) -> None:
    assert isinstance(make_runtime(Settings(home=tmp_path)), LocalRuntime)
    assert isinstance(make_runtime(Settings(home=tmp_path, runtime="kubernetes")), KubernetesRuntime)


def test_the_client_is_imported_only_where_there_is_a_cluster() -> None:
    program = "import sys, modelyard_hub.app, modelyard_hub.cli; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_options_are_what_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        runtime="kubernetes",
        namespace="yard",
        server_image="server:1",
        image_pull_secrets=("a", "b"),
        artifacts=Path("/artifacts"),
        artifacts_claim="models",
        leave_notice=7.0,
        drain_timeout=20.0,
    )
    options = KubernetesOptions.from_settings(settings)
    assert (options.namespace, options.image, options.image_pull_secrets) == ("yard", "server:1", ("a", "b"))
    assert (options.artifacts, options.artifacts_claim) == ("/artifacts", "models")
    assert options.timing.grace == 32
