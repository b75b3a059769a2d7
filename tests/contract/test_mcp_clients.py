"""The official clients against a running gateway with real actors: each lists the tools, calls one, and hears of what fails and is refused.

TypeScript's 1.x and 2.x and MCP Inspector come by ci/mcp_suite.sh; Python's is installed with the gateway.
"""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

FOLDER = Path(__file__).parent / "mcp_clients"
WAIT = 100
REFUSED = "Arguments of greet are refused:\n- /name is integer; expected string"
FAILED = "RuntimeError in fails: This tool intentionally returns an error for testing (envelope "
Environment = Callable[[], dict[str, str]]


def by_typescript(mcp_suite: Path, outside: Environment, program: str, *words: str) -> dict[str, Any]:
    """What `program` printed; node resolves its packages from the working directory."""
    packages = mcp_suite / "clients"
    done = subprocess.run(
        [packages / "node_modules" / ".bin" / "node", "--input-type=module", "-", *words],
        input=(FOLDER / program).read_text(encoding="utf-8"),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        cwd=packages,
        env=outside(),
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def by_python(url: str, mode: str) -> dict[str, Any]:
    """The same by the Python client."""
    progress = []

    async def heard(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async def unknown(client: Client) -> dict[str, Any]:
        with pytest.raises(MCPError) as caught:
            await client.session.call_tool("gret", {})
        return {"code": caught.value.code, "message": caught.value.message}

    def plain(model: Any) -> Any:
        return model.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def work() -> dict[str, Any]:
        async with asyncio.timeout(WAIT), Client(url, mode=mode) as client:
            return {
                "revision": client.protocol_version,
                "tools": [plain(tool) for tool in (await client.list_tools()).tools],
                "called": plain(await client.call_tool("greet", {"name": "there"}, progress_callback=heard)),
                "failed": plain(await client.call_tool("test_error_handling", {})),
                "refused": plain(await client.call_tool("greet", {"name": 5})),
                "unknown": await unknown(client),
                "progress": progress,
            }

    return asyncio.run(work())


Told = Callable[[Path, Environment, str], dict[str, Any]]
CLIENTS: dict[str, tuple[str, Told]] = {
    "python, legacy": ("2025-11-25", lambda suite, outside, url: by_python(url, "legacy")),
    "python, auto": ("2026-07-28", lambda suite, outside, url: by_python(url, "auto")),
    "typescript 1": ("2025-11-25", lambda suite, outside, url: by_typescript(suite, outside, "sdk.mjs", url)),
    "typescript 2, legacy": ("2025-11-25", lambda suite, outside, url: by_typescript(suite, outside, "client.mjs", url, "legacy")),
    "typescript 2, auto": ("2026-07-28", lambda suite, outside, url: by_typescript(suite, outside, "client.mjs", url, "auto")),
}


@pytest.mark.behaviour("gateway:mcp:clients")
@pytest.mark.parametrize("name", CLIENTS)
def test_official_client_lists_and_calls_and_hears_of_failures(mcp_suite: Path, mcp_url: str, outside: Environment, name: str) -> None:
    revision, work = CLIENTS[name]
    told = work(mcp_suite, outside, mcp_url)
    assert told["revision"] == revision
    tools = {tool["name"]: tool for tool in told["tools"]}
    assert tools["greet"]["inputSchema"]["properties"] == {"name": {"type": "string"}}
    called = told["called"]
    assert (called["content"][0]["text"], called["structuredContent"], called.get("isError", False)) == (
        "Hello, there!",
        {"result": "Hello, there!"},
        False,
    )
    assert told["progress"] == sorted(told["progress"])
    assert (told["progress"][0], told["progress"][-1]) == (0, 100)
    assert told["failed"]["isError"]
    assert told["failed"]["content"][0]["text"].startswith(FAILED)
    assert (told["refused"]["isError"], told["refused"]["content"][0]["text"]) == (True, REFUSED)
    assert told["unknown"]["code"] == -32602
    assert "did you mean greet?" in told["unknown"]["message"]


@pytest.mark.behaviour("gateway:mcp:clients")
def test_inspector_lists_and_calls_and_hears_of_failures(mcp_suite: Path, mcp_url: str, outside: Environment) -> None:
    tools = mcp_suite / "clients" / "node_modules" / ".bin"

    def inspect(*words: str) -> tuple[int, Any, str]:
        command = [tools / "node", tools / "mcp-inspector", "--cli", mcp_url, "--transport", "http", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False, env=outside())
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    code, listed, said = inspect("--method", "tools/list")
    assert code == 0, said
    assert "greet" in {tool["name"] for tool in listed["tools"]}
    code, called, said = inspect("--method", "tools/call", "--tool-name", "greet", "--tool-arg", "name=there")
    assert code == 0, said
    assert called["structuredContent"] == {"result": "Hello, there!"}
    code, failed, said = inspect("--method", "tools/call", "--tool-name", "test_error_handling")
    assert (code, failed["isError"]) == (5, True)
    assert failed["content"][0]["text"].startswith(FAILED)
