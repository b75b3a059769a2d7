"""An SQS that takes 5 ms for each call: `tests.sqs_front` with a delay before ElasticMQ, in a process of its own; and what starts both.

Called by the SQS workload. Run as ``python -m benchmarks.sqs_double ENDPOINT SECONDS``: prints its address, and for each line on standard
input one line of JSON: calls so far, and the clock's readings of the latest answers that held messages.
"""

import json
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, cast

from tests.sqs_front import Forward, Front, Json, Reply

ROOT = Path(__file__).parents[1]


class SqsDouble:
    """A running double.

    Args:
        seconds: that each call takes, on top of the server's own time.
    """

    def __init__(self, seconds: float) -> None:
        self.server = server()
        command = [sys.executable, "-m", "benchmarks.sqs_double", self.server, str(seconds)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self._line()

    def told(self) -> dict[str, Any]:
        """What it has seen so far: ``calls`` by action, ``handed`` clock readings."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return cast(dict[str, Any], json.loads(self._line()))

    def calls(self) -> int:
        """Calls so far, those that ask for a queue's address left out."""
        return sum(count for action, count in self.told()["calls"].items() if action != "GetQueueUrl")

    def end(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def absent() -> str | None:
    """Why there is no server."""
    try:
        server()
    except (OSError, subprocess.SubprocessError, LookupError) as error:
        return f"ci/services.sh start sqs: {error}"
    return None


def server() -> str:
    """Start ElasticMQ if it does not run; gives its address."""
    script = ROOT / "ci" / "services.sh"
    subprocess.run([script, "start", "sqs"], check=True, capture_output=True)
    lines = subprocess.run([script, "env", "sqs"], check=True, capture_output=True, text=True).stdout.splitlines()
    found = [line.partition("ENDPOINT=")[2] for line in lines if "ENDPOINT=" in line]
    if not found:
        raise LookupError("it is not installed")
    return found[0]


def main() -> None:
    """Serve until the input ends."""
    front = Front(sys.argv[1], delay_seconds=float(sys.argv[2]))
    handed: deque[float] = deque(maxlen=1000)

    async def watch(action: str, asked: Json, forward: Forward) -> Reply:
        reply = await forward(asked)
        if reply.body.get("Messages"):
            handed.append(time.monotonic() + front.delay_seconds)
        return reply

    front.rule = watch
    print(front.endpoint, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"calls": dict(front.calls), "handed": list(handed)}), flush=True)
    front.close()


if __name__ == "__main__":
    main()
