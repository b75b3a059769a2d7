"""Which files of a project a handler is made of, as far as ``import`` statements tell. Called by `reload`.

Reads files of the project; imports nothing, so that no user code runs here.
"""

import ast
from collections import deque
from pathlib import Path

__all__ = ["files_of"]


def files_of(handler: str, roots: list[Path]) -> set[Path]:
    """Files below `roots` that importing `handler` (a dotted path) may read, found by the import statements in them.

    A file that cannot be parsed counts, its own imports do not. Imports made by calls at run time are not seen.
    """
    found: set[Path] = set()
    waiting = deque([handler])
    seen: set[str] = set()
    while waiting:
        name = waiting.popleft()
        if name in seen:
            continue
        seen.add(name)
        for file, package in _locate(name, roots):
            if file not in found:
                found.add(file)
                waiting.extend(_imported(file, package))
    return found


def _locate(name: str, roots: list[Path]) -> list[tuple[Path, str]]:
    """The files that importing `name` reads, each with the package that relative imports in it count from."""
    for root in roots:
        files: list[tuple[Path, str]] = []
        folder, parts = root, name.split(".")
        for depth, part in enumerate(parts, start=1):
            module, package = folder / f"{part}.py", folder / part / "__init__.py"
            dotted = ".".join(parts[:depth])
            if package.is_file():
                files.append((package, dotted))
            elif module.is_file():
                files.append((module, ".".join(parts[: depth - 1])))
                break
            elif not (folder / part).is_dir():
                break
            folder = folder / part
        if files:
            return files
    return []


def _imported(file: Path, package: str) -> list[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            base = above[: len(above) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names += [start] if start else []
            names += [f"{start}.{alias.name}" if start else alias.name for alias in node.names]
    return names
