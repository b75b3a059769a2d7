"""Restarts what a changed file belongs to, while ``--serve`` is up. Called by `serve`.

A changed values file restarts its pair; a changed Python file restarts the runtimes whose handlers import it, or all if none seems to.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import watchfiles

from asya_cli.output import Talk
from asya_cli.run.imports import files_of
from asya_cli.run.project import Actor, Project
from asya_cli.run.session import Session
from asya_core.wire.errors import AsyaError

__all__ = ["Reloader", "affected"]

_DEBOUNCE_MS: Final = 300
_STEP_MS: Final = 50


class Reloader:
    """Watches the project's folders.

    Args:
        load: reads the project again.
        project: as it is now.
        session: whose pairs are restarted.
        talk: says what was done.
    """

    def __init__(self, load: Callable[[], Project], project: Project, session: Session, talk: Talk) -> None:
        self._load = load
        self._project = project
        self._session = session
        self._talk = talk

    async def run(self) -> None:
        """Watch until cancelled."""
        folders = {
            self._project.directory,
            *(actor.root for actor in self._project.actors.values()),
            *(file.parent for file in self._project.files),
        }
        outer = [folder for folder in folders if not any(folder != other and folder.is_relative_to(other) for other in folders)]
        ignored = (*watchfiles.DefaultFilter.ignore_dirs, ".asya", ".cache")
        async for changes in watchfiles.awatch(
            *outer, watch_filter=watchfiles.DefaultFilter(ignore_dirs=ignored), debounce=_DEBOUNCE_MS, step=_STEP_MS
        ):
            try:
                await self.apply({Path(path) for _, path in changes})
            except AsyaError as error:
                self._talk.error(error)

    async def apply(self, changed: set[Path]) -> None:
        """Restart what `changed` belongs to. Raises AsyaError if a values file is not right; then nothing is restarted."""
        restarted: set[str] = set()
        if any(path.suffix in (".yaml", ".yml") or path in self._project.files for path in changed):  # values, or the flow
            restarted = await self._apply_values(self._load())
        for name in affected(changed, self._project.actors.values()):
            if name not in restarted and name in self._session.pairs:
                shown = ", ".join(sorted(path.name for path in changed if path.suffix == ".py"))
                self._talk.info(f"{shown} changed: {name} restarts after its call")
                await self._session.pairs[name].restart_runtime()

    async def _apply_values(self, project: Project) -> set[str]:
        before, self._project = self._project, project
        for name in set(before.actors) - set(project.actors):
            self._talk.info(f"{name} is there no more: it stops")
            await self._session.stop_pair(name)
        renewed = {name for name, actor in project.actors.items() if before.actors.get(name) != actor}
        for name in sorted(renewed):
            self._talk.info(f"{project.actors[name].file.name} changed: {name} restarts after its call")
            await self._session.stop_pair(name)
        if renewed:
            await self._session.declare(renewed)
            await self._session.start(project.actors[name] for name in sorted(renewed))
        return renewed


def affected(changed: Iterable[Path], actors: Iterable[Actor]) -> list[str]:
    """The actors that a change of these files concerns, sorted. Files that are no Python concern nobody."""
    files = {path.resolve() for path in changed if path.suffix == ".py"}
    if not files:
        return []
    known = {actor.spec.name: {file.resolve() for file in files_of(actor.spec.handler, [actor.root])} for actor in actors}
    found = {name for name, parts in known.items() if parts & files}
    if files - set().union(*known.values()):
        return sorted(known)  # a file that some handler may import by other means
    return sorted(found)
