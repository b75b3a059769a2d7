"""Settings of the command itself: flag, environment, the project's ``asya.yaml``, the user's file, default; the first that is there wins.

Called by the commands that talk to a gateway. Knows no gateway.

::

    # asya.yaml of the project, or $XDG_CONFIG_HOME/asya/config.yaml
    mcp:
      url: https://gateway.example.com
      token_file: ~/.config/asya/token
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from asya_cli.errors import nearest
from asya_core.wire.errors import RemoteFault

__all__ = ["DEFAULT_URL", "ENVIRONMENT", "Config", "Setting", "read_config", "user_file"]

DEFAULT_URL: Final = "http://127.0.0.1:8080"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "ASYA_CLI_BROKER_URL": "The broker where `--broker-url` is not given, with its credentials: `amqp://user:password@host/vhost`.",
    "ASYA_CLI_CONFIG": "The user's settings file; absent: `asya/config.yaml` below `XDG_CONFIG_HOME` or `~/.config`.",
    "ASYA_CLI_MCP_URL": "The gateway where `--url` is not given; absent: `mcp.url` of the settings files, else `http://127.0.0.1:8080`.",
    "ASYA_CLI_TOKEN": "The key for the gateway where `--token-file` is not given; absent: `mcp.token_file` of the settings files.",
}
"""Every environment variable that the command reads, all with this prefix, and what it says."""
_PREFIX: Final = "ASYA_CLI_"
_KEYS: Final = ("url", "token_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value and where it came from: ``flag``, ``environment``, the path of a file, or ``default``."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is in force.

    Attributes:
        url: base address of the gateway, without a trailing slash and without ``/mcp``.
        token: the credential, or None; its value is never shown.
    """

    url: Setting
    token: Setting | None


def read_config(
    environment: Mapping[str, str], *, url: str | None = None, token_file: str | None = None, directory: Path | None = None
) -> Config:
    """The settings in force.

    Args:
        environment: of the process.
        url: of ``--url``.
        token_file: of ``--token-file``.
        directory: where ``asya.yaml`` is looked for; default: the working directory.

    Raises RemoteFault ``bad_config`` for an unknown variable or key, a value that is no address, a file that cannot be read.
    """
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in ENVIRONMENT:
            raise RemoteFault("bad_config", f"{name} is no setting of asya", nearest(name, ENVIRONMENT))
    files = [_section((directory or Path.cwd()) / "asya.yaml"), _section(user_file(environment))]
    return Config(url=_url(environment, url, files), token=_token(environment, token_file, files))


def user_file(environment: Mapping[str, str]) -> Path:
    """The user's file: ``ASYA_CLI_CONFIG``, else ``asya/config.yaml`` below ``XDG_CONFIG_HOME`` or ``~/.config``."""
    if environment.get("ASYA_CLI_CONFIG"):
        return Path(environment["ASYA_CLI_CONFIG"]).expanduser()
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "~"), ".config")
    return Path(home).expanduser() / "asya" / "config.yaml"


def _url(environment: Mapping[str, str], flag: str | None, files: list[tuple[Path, Mapping[str, str]]]) -> Setting:
    if flag is not None:
        return Setting(value=_address(flag, "--url"), origin="flag")
    if environment.get("ASYA_CLI_MCP_URL"):
        return Setting(value=_address(environment["ASYA_CLI_MCP_URL"], "ASYA_CLI_MCP_URL"), origin="environment")
    for path, section in files:
        if "url" in section:
            return Setting(value=_address(section["url"], f"{path}: mcp.url"), origin=str(path))
    return Setting(value=DEFAULT_URL, origin="default")


def _address(text: str, where: str) -> str:
    """The base address: a trailing slash and ``/mcp`` are accepted and dropped."""
    try:
        parts = urlsplit(text.strip())
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        is_good = is_good and parts.username is None and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise RemoteFault("bad_config", f"{where} is no address of a gateway", "write it as http://host:port, without user and query")
    return text.strip().rstrip("/").removesuffix("/mcp").rstrip("/")


def _token(environment: Mapping[str, str], flag: str | None, files: list[tuple[Path, Mapping[str, str]]]) -> Setting | None:
    if flag is not None:
        return Setting(value=_read_token(Path(flag), "--token-file"), origin="flag")
    if environment.get("ASYA_CLI_TOKEN"):
        return Setting(value=_checked(environment["ASYA_CLI_TOKEN"].strip(), "ASYA_CLI_TOKEN"), origin="environment")
    for path, section in files:
        if "token_file" in section:
            return Setting(value=_read_token(Path(section["token_file"]).expanduser(), f"{path}: mcp.token_file"), origin=str(path))
    return None


def _read_token(path: Path, where: str) -> str:
    try:
        return _checked(path.read_text(encoding="utf-8").strip(), where)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RemoteFault("bad_config", f"{where}: {path} cannot be read: {reason}", "name a file that holds the key alone") from error


def _checked(token: str, where: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RemoteFault("bad_config", f"{where} holds no key", "it is one word, as asya key new prints it")
    return token


def _section(path: Path) -> tuple[Path, Mapping[str, str]]:
    """The ``mcp`` section of a YAML file; empty if there is no such file."""
    if not path.is_file():
        return path, {}
    import yaml

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RemoteFault("bad_config", f"{path} cannot be read: {reason}", "correct the file") from error
    section = document.get("mcp") if isinstance(document, dict) else None
    if section is None:
        return path, {}
    if not isinstance(section, dict) or not all(isinstance(value, str) for value in section.values()):
        raise RemoteFault("bad_config", f"{path}: mcp is no mapping of texts", "write mcp: {url: http://host:port}")
    for key in section:
        if key not in _KEYS:
            raise RemoteFault("bad_config", f"{path}: unknown key mcp.{key}", nearest(str(key), _KEYS))
    return path, section
