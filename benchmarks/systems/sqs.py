"""The contenders on SQS: Asya's two processes, and what one writes in an hour with boto3: receive one, work, send one, delete one."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Protocol

from benchmarks import sqs_double
from benchmarks.processes import ProcessGroup
from benchmarks.systems.asya import APPS, RUNTIME

ACCESS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


class SqsSystem(Protocol):
    """Moves messages from queue ``asya-NAMESPACE-a`` to ``asya-NAMESPACE-b``."""

    name: str
    setup: str

    def absent(self) -> str | None: ...

    def versions(self) -> dict[str, str]: ...

    def start(self, endpoint: str, namespace: str, folder: Path) -> ProcessGroup: ...


class AsyaOnSqs:
    """One sidecar and one runtime."""

    name = "asya"
    setup = "default settings: sidecar and runtime in two processes, delete after all outputs are confirmed, renewals, a log line each"

    def absent(self) -> str | None:
        return sqs_double.absent()

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("asya", "botocore", "msgspec", "uvloop")}

    def start(self, endpoint: str, namespace: str, folder: Path) -> ProcessGroup:
        group = ProcessGroup(folder / "asya.log")
        socket = folder / "s"
        runtime = {"ASYA_HANDLER": "handlers.identity", "ASYA_SOURCE_PATH": str(APPS), "ASYA_SOCKET": str(socket)}
        group.start([sys.executable, str(RUNTIME)], runtime, folder)
        sidecar = {
            "ASYA_ACTOR": "a",
            "ASYA_NAMESPACE": namespace,
            "ASYA_TRANSPORT": "sqs",
            "ASYA_SQS_ENDPOINT": endpoint,
            "ASYA_SOCKET": str(socket),
            "ASYA_HEALTH_LISTEN": "off",
        }
        group.start([sys.executable, "-m", "asya_sidecar"], sidecar | ACCESS, folder)
        return group


class Boto3Loop:
    """Three single calls for each message."""

    name = "boto3, three calls a message"
    setup = "one process: receive one, identity in the same process, send one, delete one"

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("boto3", "botocore")}

    def start(self, endpoint: str, namespace: str, folder: Path) -> ProcessGroup:
        group = ProcessGroup(folder / "boto3.log")
        names = [endpoint, f"asya-{namespace}-a", f"asya-{namespace}-b"]
        group.start([sys.executable, str(APPS / "sqs_loop.py"), *names], ACCESS, folder)
        return group
