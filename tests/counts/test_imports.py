"""Which packages and which costly modules each entry point imports: nothing that its job does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

COSTLY = {
    "asyncio",
    "ssl",
    "email",
    "http",
    "urllib.request",
    "xml",
    "sqlite3",
    "multiprocessing",
    "unittest",
    "decimal",
    "logging",
    "ctypes",
}
"""Of the standard library: those that take milliseconds or megabytes."""

ALLOWED = {
    # entry point: (what it runs, packages that are not the standard library's, costly modules)
    "sidecar on rabbitmq": (
        "import asya_sidecar.__main__, asya_core.transports.rabbitmq.transport",
        {"asya_core", "asya_sidecar", "msgspec", "pika", "typing_extensions", "uvloop"},
        {"asyncio", "decimal", "logging", "ssl"},
    ),
    "sidecar on sqs": (
        "import asya_sidecar.__main__, asya_core.transports.sqs.transport",
        {
            "asya_core",
            "asya_sidecar",
            "botocore",
            "certifi",
            "dateutil",
            "jmespath",
            "msgspec",
            "six",
            "typing_extensions",
            "urllib3",
            "uvloop",
        },
        {"asyncio", "decimal", "email", "http", "logging", "ssl", "urllib.request", "xml"},
    ),
    "sidecar on embedded": (
        "import asya_sidecar.__main__, asya_core.transports.embedded",
        {"asya_core", "asya_sidecar", "msgspec", "typing_extensions", "uvloop"},
        {"asyncio", "decimal", "logging", "sqlite3", "ssl"},
    ),
    "runtime": ("import asya_runtime", {"asya_runtime"}, set()),
    "command line that asks a gateway": (
        "import asya_cli.client",
        {"asya_cli", "asya_core", "httpx", "idna"},
        {"email", "http", "logging", "ssl", "urllib.request"},
    ),
    "command line": ("import asya_cli.__main__", {"asya_cli", "asya_core", "click", "msgspec"}, set()),
}


@pytest.mark.parametrize("entry", ALLOWED)
def test_an_entry_point_imports_only_what_is_listed(entry: str) -> None:
    code, packages, costly = ALLOWED[entry]
    script = code + "\nimport sys\nprint('\\n'.join(m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    bare = subprocess.run(
        [sys.executable, "-I", "-c", "import sys\nprint('\\n'.join(sys.modules))"], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split()) - set(bare.stdout.split())
    foreign = {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)
    foreign = {name for name in foreign if not name.startswith(("_", "__editable__"))}
    assert foreign <= packages
    assert found & COSTLY <= costly
