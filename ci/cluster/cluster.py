#!/usr/bin/env python3
"""A real single-node Kubernetes with RabbitMQ and KEDA for Asya's end-to-end tests, as plain host processes."""

import argparse
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from single_node import addons, binaries, components, host, images, optional, pki, processes
from single_node.layout import (
    NODE_IP,
    RABBITMQ_LOGIN,
    RABBITMQ_MANAGEMENT_PORT,
    RABBITMQ_PORT,
    Layout,
    default_work_dir,
)


def build(layout: Layout, add_ons: list[str]) -> None:
    """Install the Debian packages and build the Go programs that are missing."""
    binaries.install_packages(optional.debian_packages(add_ons))
    binaries.build(layout, optional.modules(add_ons))


def up(layout: Layout, add_ons: list[str]) -> None:
    """Start what does not run yet and wait until all of it is ready."""
    _require_root()
    add_ons = optional.in_order([*optional.running(layout), *add_ons])
    if host.bridge_exists() and not layout.run.exists():
        raise SystemExit("the cluster of another work directory runs; take it down first")
    if not binaries.is_built(layout, optional.modules(add_ons)):
        build(layout, add_ons)
    began = time.monotonic()
    if not layout.run.exists():
        layout.audit_log.unlink(missing_ok=True)  # a cluster's own, from its beginning
    for folder in (layout.logs, layout.pids):
        folder.mkdir(parents=True, exist_ok=True)
    pki.create(layout.pki)
    components.write_configs(layout)
    host.create_network()
    first, *others = components.stages(layout)
    processes.start_all(layout, first)
    # Images need containerd alone, so they are loaded while the rest starts.
    with ThreadPoolExecutor() as background:
        loading = background.submit(addons.load_images, layout)
        for stage in others:
            processes.start_all(layout, stage)
        loading.result()
    addons.install(layout)
    addons.wait(layout)
    optional.start(layout, add_ons)
    print(f"up after {time.monotonic() - began:.0f} s", flush=True)


def down(layout: Layout) -> None:
    """Stop what `up` started and remove its traces; the programs and the last logs stay."""
    _require_root()
    if not layout.run.exists():
        return
    first, *others = _stages(layout)
    processes.stop_all(layout, [process.name for stage in others for process in stage])
    optional.clean(layout)
    # containerd owns the containers, so it must run to remove them.
    processes.start_all(layout, [components.containerd(layout)])
    images.remove_containers(layout)
    processes.stop_all(layout, [process.name for process in first])
    host.unmount(layout)
    host.remove_network()
    host.remove_control_groups()
    host.remove_records(layout)
    shutil.rmtree(layout.run)
    print("down", flush=True)


def stop(layout: Layout, name: str) -> None:
    """Stop one host process, for tests of what happens then; `up` starts it again."""
    _require_root()
    names = [process.name for stage in _stages(layout) for process in stage]
    if name not in names:
        raise SystemExit(f"there is no process {name}; expected one of {', '.join(names)}")
    processes.stop(layout, name)
    print(f"{name} stopped", flush=True)


def status(layout: Layout) -> None:
    """Print each host process, then the pods; exit with 1 when something is not ready."""
    all_ready = True
    for process in [process for stage in _stages(layout) for process in stage]:
        pid = processes.running_pid(layout, process.name)
        state = "stopped" if pid is None else "ready" if process.is_ready() else "not ready"
        all_ready &= state == "ready"
        print(f"{process.name:<24} {state:<10} {pid or ''}")
    if not all_ready:
        raise SystemExit(1)
    print(addons.kubectl(layout, "get", "pods", "--all-namespaces"), end="")


def load(layout: Layout, archives: list[Path]) -> None:
    """Make the images of archives (docker-archive or oci-archive) available to pods."""
    for archive in archives:
        print(images.load(layout, archive), end="")


def print_environment(layout: Layout) -> None:
    """Print what a shell needs: eval "$(cluster.py env)"."""
    print(f'export KUBECONFIG="{layout.kubeconfig}"')
    print(f'export PATH="{layout.bin}:$PATH"')
    print(f'export NO_PROXY="{NODE_IP},${{NO_PROXY:-}}"')
    print(f'export ASYA_CLUSTER_AUDIT_LOG="{layout.audit_log}"')
    print(f'export ASYA_CLUSTER_RABBITMQ_URL="amqp://{RABBITMQ_LOGIN}@{NODE_IP}:{RABBITMQ_PORT}/"')
    print(f'export ASYA_CLUSTER_RABBITMQ_MANAGEMENT_URL="http://{RABBITMQ_LOGIN}@{NODE_IP}:{RABBITMQ_MANAGEMENT_PORT}"')


def _stages(layout: Layout) -> list[list[processes.Process]]:
    return [*components.stages(layout), *optional.stages(layout)]


def _require_root() -> None:
    if os.geteuid() != 0:
        raise SystemExit("only root can run containers here")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=default_work_dir(), help="work directory (default: %(default)s)")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, action in (
        ("build", build),
        ("up", up),
        ("down", down),
        ("stop", stop),
        ("status", status),
        ("load", load),
        ("env", print_environment),
    ):
        verb = verbs.add_parser(name, help=str(action.__doc__).splitlines()[0])
        verb.set_defaults(action=action)
        if action in (build, up):
            names = list(optional.ADD_ONS)
            verb.add_argument("--with", dest="add_ons", action="append", choices=names, default=[], help="an add-on")
        if action is stop:
            verb.add_argument("name", metavar="PROCESS")
        if action is load:
            verb.add_argument("archives", type=Path, nargs="+", metavar="IMAGE_TAR")
    return parser.parse_args()


def main() -> None:
    options = vars(_arguments())
    action, work_dir = options.pop("action"), options.pop("dir")
    action(Layout(work_dir.resolve()), **options)


if __name__ == "__main__":
    main()
