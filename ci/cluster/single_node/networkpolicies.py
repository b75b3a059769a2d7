"""Enforces NetworkPolicies: kube-router with nothing but its firewall, which writes iptables rules and address sets."""

import subprocess

from .components import command_line
from .layout import NODE, SERVICE_CIDR, Layout
from .processes import Process

# How kube-router names its chains and address sets.
CHAINS = ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-")
SETS = ("KUBE-SRC-", "KUBE-DST-")


def install(layout: Layout) -> None:
    """Kubernetes knows NetworkPolicies already."""


def stages(layout: Layout) -> list[list[Process]]:
    command = command_line(
        layout.bin / "kube-router",
        kubeconfig=layout.kubeconfig,
        hostname_override=NODE,
        service_cluster_ip_range=SERVICE_CIDR,
        run_firewall="true",
        run_router="false",
        run_service_proxy="false",
        health_port=0,
    )
    return [[Process("kube-router", command, is_ready=_has_rules)]]


def clean(layout: Layout) -> None:
    """kube-router's own clean-up needs the kernel's load balancer, so its rules and sets are picked out by name."""
    saved = _run("iptables-save", "--table", "filter").splitlines()
    kept = [line for line in saved if not any(chain in line for chain in CHAINS)]
    if kept != saved:
        _run("iptables-restore", "--table", "filter", text="\n".join(kept) + "\n")
    if not any(line.startswith("-A") or (line.startswith(":") and " ACCEPT " not in line) for line in kept):
        # What remains is an empty table that lets everything pass.
        subprocess.run(["nft", "delete", "table", "ip", "filter"], capture_output=True)
    for name in _run("ipset", "list", "-name").split():
        if name.startswith(SETS):
            _run("ipset", "destroy", name)


def _has_rules() -> bool:
    return "KUBE-ROUTER-FORWARD" in _run("iptables-save", "--table", "filter")


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
