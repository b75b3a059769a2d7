"""Where everything is: addresses, names and the folders of one work directory."""

import os
import string
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent

NODE = "asya"
NETWORK = "asya-cluster"
BRIDGE = "asya0"
NODE_IP = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"

# Unusual ports, so that a packaged etcd or RabbitMQ on the same machine does no harm.
ETCD_URL = "http://127.0.0.1:21379"
ETCD_PEER_URL = "http://127.0.0.1:21380"
API_SERVER_URL = f"https://{NODE_IP}:6443"
DNS_READY = "127.0.0.1:18181"
RABBITMQ_PORT = 15673
RABBITMQ_MANAGEMENT_PORT = 15674
RABBITMQ_NODE_PORT = 15675
EPMD_PORT = 14369
ARGOCD_REDIS_PORT = 16379
ARGOCD_REPO_SERVER_PORT = 18081
ARGOCD_REPO_SERVER_METRICS_PORT = 18084
ARGOCD_CONTROLLER_METRICS_PORT = 18082
ARGOCD_APPLICATION_SETS_METRICS = "127.0.0.1:18083"
ARGOCD_APPLICATION_SETS_PROBE = "127.0.0.1:18085"
ARGOCD_APPLICATION_SETS_WEBHOOK = "127.0.0.1:18086"
RABBITMQ_USER = RABBITMQ_PASSWORD = "asya"
RABBITMQ_LOGIN = f"{RABBITMQ_USER}:{RABBITMQ_PASSWORD}"


def image(name: str) -> str:
    """An image of our own. A name under localhost/ is never looked up in a registry."""
    return f"localhost/asya-cluster/{name}:local"


def default_work_dir() -> Path:
    """Beside the other builds of this repository that are kept by content (ci/helm.sh, ci/images.sh)."""
    cache = os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya"
    return Path(cache) / "cluster"


@dataclass(frozen=True)
class Layout:
    """One work directory: `bin`, `cache` and `logs` outlive the cluster, `run` does not."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def audit_log(self) -> Path:
        """What the API server notes of calls by service accounts; see config/audit.yaml."""
        return self.logs / "audit.log"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def volumes(self) -> Path:
        return self.run / "volumes"

    @property
    def add_ons(self) -> Path:
        """One empty file for each add-on that is switched on."""
        return self.run / "add-ons"

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd" / "containerd.sock"

    def render(self, template: str, **extra: str) -> str:
        """Fill in the $names of a file of this folder."""
        return string.Template((SOURCE / template).read_text()).substitute(self._names(), **extra)

    def write_config(self, template: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.render(template))

    def _names(self) -> dict[str, object]:
        return {
            "bridge": BRIDGE,
            "containerd_socket": self.containerd_socket,
            "dns_ip": DNS_IP,
            "dns_ready": DNS_READY,
            "keda_adapter_image": image("keda-adapter"),
            "keda_admission_image": image("keda-admission-webhooks"),
            "keda_image": image("keda"),
            "network": NETWORK,
            "node_ip": NODE_IP,
            "pause_image": image("pause"),
            "pki": self.pki,
            "pod_cidr": POD_CIDR,
            "rabbitmq_management_port": RABBITMQ_MANAGEMENT_PORT,
            "rabbitmq_password": RABBITMQ_PASSWORD,
            "rabbitmq_port": RABBITMQ_PORT,
            "rabbitmq_user": RABBITMQ_USER,
            "run": self.run,
            "volumes": self.volumes,
        }
