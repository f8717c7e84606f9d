"""containerd with folders of its own, and what is left of its containers at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from harness.kubernetes.images import PAUSE_IMAGE
from harness.kubernetes.processes import Processes, end, started
from harness.wait import eventually

_PLUGINS = "/usr/lib/cni"
_CGROUPS = Path("/sys/fs/cgroup")


class Containers:
    """containerd of one cluster; `folder` is its state."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._folder, self._processes = folder, processes
        self.socket = folder / "containerd.sock"

    def start(self, network: Path) -> None:
        """Start it; returns when it answers. `network`: folder of the CNI configuration."""
        configuration = self._folder / "containerd.toml"
        text = _CONFIGURATION.format(folder=self._folder, network=network, plugins=_PLUGINS, pause=PAUSE_IMAGE)
        configuration.write_text(text)
        self._processes.start("containerd", ["containerd", "--config", configuration])
        eventually(lambda: self._ctr("version"), timeout=30, what="containerd answers")

    def load(self, archive: Path) -> None:
        """Import an image archive."""
        self._ctr("images", "import", str(archive))

    def end_all(self) -> None:
        """End all containers at once, where containerd runs."""
        try:
            tasks = self._ctr("tasks", "list", "--quiet").split()
        except AssertionError:
            return
        line = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL"]
        for running in [subprocess.Popen([*line, task], stderr=subprocess.DEVNULL) for task in tasks]:
            running.wait()

    def clean(self) -> None:
        """After containerd has ended: its shims, their containers, mounts and control groups."""
        for pid in _shims(str(self.socket)):
            for member in [*_descendants(pid), pid]:
                end(member, started(member), 2.0, signal.SIGKILL)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            mount = line.split()[4].replace("\\040", " ")
            if Path(mount).is_relative_to(self._folder):
                subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
        for pattern in ("kubepods", "*/kubepods"):
            for group in _CGROUPS.glob(pattern):
                for folder, _, _ in os.walk(group, topdown=False):
                    _remove_group(folder)

    def _ctr(self, *arguments: str) -> str:
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
        return done.stdout


def _shims(socket: str) -> list[int]:
    """Shims that containerd at `socket` started: they name it in their command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"containerd-shim" in command[0] and socket.encode() in command:
                found.append(int(entry.name))
    return found


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [d for child in map(int, children) for d in [*_descendants(child), child]]


def _remove_group(folder: str) -> None:
    with contextlib.suppress(OSError):  # what some container is still in stays
        os.rmdir(folder)


_CONFIGURATION = """
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
