"""Options of one compilation: what the command line says, as a value.

Made by the command or by a test; read by selection, passes and emission. Reads no file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Image", "Options"]

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The routers' image, split as the actor chart's values want it."""

    repository: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> "Image":
        """``REPO:TAG`` or ``REPO@sha256:…``; a registry's port is part of the repository. Raises ValueError, one sentence."""
        repository, at, digest = text.partition("@")
        if at:
            if not repository or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                raise ValueError(f"image {text!r} has no valid digest; expected REPO@sha256: and 64 hexadecimal digits")
            return Image(repository=repository, digest=digest)
        head, colon, tag = text.rpartition(":")
        if not colon or not head or "/" in tag or not _TAG.fullmatch(tag):
            raise ValueError(f"image {text!r} has no tag; expected REPO:TAG")
        return Image(repository=head, tag=tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What shapes the output; see flow-language reference, "Command line".

    `actors` maps actor name → full handler path, as read from values files; None when no folder was given.
    `source_name` is the source as the header names it (relative to the output folder); "" = the path's last part.
    `command` is the line the header prints; "" leaves it out.
    """

    flow: str | None = None
    actors: Mapping[str, str] | None = None
    image: Image | None = None
    transport: str = ""
    routers: Literal["per-actor", "folded"] = "per-actor"
    end_router: Literal["route", "skip"] = "route"
    max_iterations: int = 100
    infinite_loop_check: bool = True
    plot_width: int = 50
    stubs: bool = False
    subflows: Mapping[str, str] = field(default_factory=dict)
    source_name: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.max_iterations < 0:
            raise ValueError(f"max iterations {self.max_iterations} is negative; expected 0 (no bound) or more")
        if self.plot_width < 1:
            raise ValueError(f"plot width {self.plot_width} is too small; expected 1 or more")
