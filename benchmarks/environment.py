"""The virtual environment that the other systems live in, outside the work tree.

Called by `run`. ``ASYA_CACHE`` (default ``~/.cache/asya``) holds it, so that a clean clone does not install it again.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
PACKAGES = ("celery", "dramatiq[rabbitmq]", "faststream[rabbit]", "fastapi", "psycopg[binary]", "uvicorn", "uvloop")


def cache_folder() -> Path:
    """Where things are kept that outlive a work tree."""
    return Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya")


def bench_python() -> Path:
    """The interpreter that has the other systems at the versions of constraints.txt; installs them first if need be."""
    folder = cache_folder() / "bench-venv"
    python = folder / "bin" / "python"
    stamp = folder / "asya-bench.sha256"
    want = hashlib.sha256((sys.version + CONSTRAINTS.read_text() + " ".join(PACKAGES)).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == want and python.exists():
        return python
    print(f"bench: installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS), *PACKAGES]
    subprocess.run(install, check=True)
    stamp.write_text(want)
    return python


def bench_versions(python: Path, *names: str) -> dict[str, str]:
    """Versions of these distributions in the other systems' environment."""
    code = "import importlib.metadata as m, sys; print('\\n'.join(n + '=' + m.version(n) for n in sys.argv[1:]))"
    out = subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in out.split())
