"""etcd, API server, controller manager, scheduler: their commands and configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.kubernetes.certificates import Authority, kubeconfig, write_key
from harness.kubernetes.network import API_SERVICE_IP, NODE_IP, POD_NETWORK, SERVICE_NETWORK

API_PORT = 6443
_ETCD_PORT = 2379
NODE = "modelyard-test"
_HOSTS = (
    NODE_IP, "127.0.0.1", API_SERVICE_IP, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Certificates and kubeconfigs of one cluster, all in `folder`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Identity:
        """Everything that the components show each other."""
        self, authority = cls(folder), Authority(folder)
        authority.sign("apiserver", user="kube-apiserver", hosts=_HOSTS)
        authority.sign("kubelet-client", user="kube-apiserver", group="system:masters")
        authority.sign("kubelet", user=f"system:node:{NODE}", group="system:nodes", hosts=(NODE_IP, NODE))
        authority.sign("metrics", user="metrics-server", hosts=(NODE_IP, "metrics-server.kube-system.svc"))
        Authority(folder, "front").sign("front-client", user="front-proxy-client")
        for user, group in (
            ("admin", "system:masters"),
            ("system:kube-controller-manager", ""),
            ("system:kube-scheduler", ""),
            ("system:kube-proxy", ""),
            (f"system:node:{NODE}", "system:nodes"),
        ):
            self._kubeconfig(authority, user, group)
        key = ec.generate_private_key(ec.SECP256R1())
        write_key(folder / "accounts.key", key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / "accounts.pub").write_bytes(public)
        return self

    def file(self, name: str) -> Path:
        """One of the files."""
        return self.folder / name

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a user."""
        return self.folder / f"{user.rpartition(':')[2]}.kubeconfig"

    def _kubeconfig(self, authority: Authority, user: str, group: str) -> None:
        pair = authority.sign(user.rpartition(":")[2] + "-client", user=user, group=group)
        server = f"https://{NODE_IP}:{API_PORT}"
        kubeconfig(self.kubeconfig(user), server, authority.certificate, pair)


def etcd(folder: Path) -> list[str]:
    """Its command. A test's cluster need not survive the machine: no sync to disk."""
    client, peer = f"http://127.0.0.1:{_ETCD_PORT}", f"http://127.0.0.1:{_ETCD_PORT + 1}"
    return [
        "etcd", "--unsafe-no-fsync", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}", "--logger=zap", "--log-level=warn",
    ]  # fmt: skip


def api_server(programs: Path, identity: Identity) -> list[str]:
    """Its command."""
    file = identity.file
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{_ETCD_PORT}",
        f"--bind-address={NODE_IP}",
        f"--advertise-address={NODE_IP}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--anonymous-auth=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--client-ca-file={file('ca.crt')}",
        f"--tls-cert-file={file('apiserver.crt')}",
        f"--tls-private-key-file={file('apiserver.key')}",
        f"--kubelet-certificate-authority={file('ca.crt')}",
        f"--kubelet-client-certificate={file('kubelet-client.crt')}",
        f"--kubelet-client-key={file('kubelet-client.key')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={file('accounts.pub')}",
        f"--service-account-signing-key-file={file('accounts.key')}",
        f"--requestheader-client-ca-file={file('front.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={file('front-client.crt')}",
        f"--proxy-client-key-file={file('front-client.key')}",
        "--enable-aggregator-routing=true",
    ]


def controller_manager(programs: Path, identity: Identity) -> list[str]:
    """Its command. It looks often, so that tests need not wait for it."""
    config = identity.kubeconfig("system:kube-controller-manager")
    return [
        str(programs / "kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--cluster-cidr={POD_NETWORK}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--root-ca-file={identity.file('ca.crt')}",
        f"--service-account-private-key-file={identity.file('accounts.key')}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-sync-period=2s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=2s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=5s",
        "--terminated-pod-gc-threshold=50",
    ]


def scheduler(programs: Path, identity: Identity) -> list[str]:
    """Its command."""
    config = identity.kubeconfig("system:kube-scheduler")
    return [
        str(programs / "kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
    ]
