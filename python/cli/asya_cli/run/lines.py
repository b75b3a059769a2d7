"""How lines of handlers and sidecars are shown: ``actor | …`` and ``actor~ | …``. Called by `one_shot` and `serve`."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from asya_cli.output import Talk

__all__ = ["Lines"]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LEFT_OUT: Final = frozenset({"ts", "level", "event", "actor", "traceback"})
_REMEMBERED: Final = 4000


class Lines:
    """Shows lines, and remembers which of a handler's were shown.

    Args:
        talk: where to.
        actors: all names, for the prefix's width and colour.
        only: those whose lines are shown; empty: all.
        least: level from which a sidecar's lines are shown.
    """

    def __init__(self, talk: Talk, actors: list[str], *, only: frozenset[str], least: str) -> None:
        self._talk = talk
        self._ordinals = {name: ordinal for ordinal, name in enumerate(actors)}
        self._width = max((len(name) for name in actors), default=0) + 1
        self._only = only
        self._least = _LEVELS[least]
        self._shown: dict[str, deque[str]] = {}

    def handler(self, actor: str, text: str) -> None:
        """One line of a handler."""
        if not self._talk.quiet and (not self._only or actor in self._only):
            self._shown.setdefault(actor, deque(maxlen=_REMEMBERED)).append(text.strip())
            self._talk.prefixed(actor, self._width, text, ordinal=self._ordinals.get(actor, 0))

    def sidecar(self, actor: str, line: Mapping[str, Any] | str) -> None:
        """One line of a sidecar, JSON read."""
        if isinstance(line, str):
            level, text = 40, line
        else:
            level = _LEVELS.get(str(line.get("level")), 40)
            keys = " ".join(f"{key}={value}" for key, value in line.items() if key not in _LEFT_OUT and value is not None)
            text = f"{line.get('event')} {keys}".rstrip()
            if line.get("traceback"):
                text += "\n" + str(line["traceback"]).rstrip()
        if level >= self._least and (level >= _LEVELS["warning"] or not self._talk.quiet) and (not self._only or actor in self._only):
            for part in text.split("\n"):
                self._talk.prefixed(f"{actor}~", self._width, part, ordinal=self._ordinals.get(actor, 0))

    def has_shown(self, actor: str, text: str) -> bool:
        """Whether all lines of `text` were shown as lines of `actor`'s handler."""
        shown = set(self._shown.get(actor, ()))
        return bool(text.strip()) and all(line.strip() in shown for line in text.strip().split("\n"))
