"""What is added to a running control plane: images, names, RabbitMQ's Service, volumes and KEDA."""

import os
import subprocess
from pathlib import Path

from . import binaries, images, pki
from .layout import NODE, SOURCE, Layout, image
from .processes import wait_until, without_proxies

VOLUMES = 64


def load_images(layout: Layout) -> None:
    present = images.loaded(layout)
    for module in ("tools", "keda"):
        for archive in sorted(binaries.cached(layout, module).glob("*.tar")):
            if image(archive.stem) not in present:
                images.load(layout, archive)


def install(layout: Layout) -> None:
    """Applying everything again changes nothing."""
    apply(layout, layout.render("manifests/dns.yaml"))
    apply(layout, layout.render("manifests/rabbitmq.yaml"))
    _install_volumes(layout)
    certificate = pki.encoded(layout.pki / "ca.crt")
    config = binaries.cached(layout, "keda") / "config"
    apply(layout, kustomize(layout, "keda", {"keda_config": config}, ca_bundle=certificate))


def wait(layout: Layout) -> None:
    wait_for(layout, "node", f"node/{NODE}", "Ready", log="kubelet")
    for name in ("keda-operator", "keda-metrics-apiserver", "keda-admission"):
        wait_for(layout, name, f"deployment/{name}", "Available", log="kubelet")
    metrics = "apiservice/v1beta1.external.metrics.k8s.io"
    wait_for(layout, "external metrics", metrics, "Available", log="kube-apiserver")


def wait_for(layout: Layout, what: str, resource: str, condition: str, log: str) -> None:
    path = f'{{.status.conditions[?(@.type=="{condition}")].status}}'
    query = ["get", resource, "--namespace=keda", f"--output=jsonpath={path}"]
    wait_until(what, lambda: _kubectl(layout, *query).stdout == "True", 240, layout.logs / f"{log}.log")


def apply(layout: Layout, manifests: str) -> None:
    """On the server's side, since some resource definitions are too large for the usual note of the last state."""
    kubectl(layout, "apply", "--server-side", "--force-conflicts", "--filename=-", text=manifests)


def kustomize(layout: Layout, name: str, folders: dict[str, Path], **extra: str) -> str:
    """Build the overlay manifests/NAME, whose $names stand for the folders of a project's own manifests."""
    overlay = layout.run / name / "overlay"
    overlay.mkdir(parents=True, exist_ok=True)
    # kustomize takes files from anywhere, but a folder only by a relative path.
    relative = {key: os.path.relpath(folder, overlay) for key, folder in folders.items()}
    for template in sorted((SOURCE / "manifests" / name).glob("*.yaml")):
        (overlay / template.name).write_text(layout.render(f"manifests/{name}/{template.name}", **relative, **extra))
    return kubectl(layout, "kustomize", str(overlay), "--load-restrictor=LoadRestrictionsNone")


def kubectl(layout: Layout, *arguments: str, text: str | None = None) -> str:
    done = _kubectl(layout, *arguments, text=text)
    if done.returncode != 0:
        raise SystemExit(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def _install_volumes(layout: Layout) -> None:
    manifests = [layout.render("manifests/storage-class.yaml")]
    for number in range(VOLUMES):
        folder = layout.volumes / f"host-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        # A volume of this kind is not handed over to the user as whom the pod runs.
        folder.chmod(0o777)
        manifests.append(layout.render("manifests/volume.yaml", volume=folder.name))
    apply(layout, "---\n".join(manifests))


def _kubectl(layout: Layout, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(layout.bin / "kubectl"), f"--kubeconfig={layout.kubeconfig}", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, env=without_proxies())
