"""The oracle: a flow as plain Python against its compiled routers in a small mesh. Handlers log what they see and return a changed copy."""

import ast
import builtins
import copy
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import CodeType
from typing import Any

from asya_flowc import Compilation, Diagnostic, Options, compile_source
from asya_flowc.emit.python import routers_text
from asya_flowc.pipeline import environment_of

HOPS = 5_000


@dataclass
class Run:
    """What one execution came to: handlers with the payload they saw, and the last payload or the exception's type."""

    seen: list[tuple[str, Any]] = field(default_factory=list)
    final: Any = None
    error: str = ""
    hops: int = 0


def compiled(text: str, options: Options | None = None, path: str = "flow.py") -> Compilation:
    done = compile_source(text, path, options)
    assert not isinstance(done, list), "\n".join(f"{one.location} {one.code} {one.message}" for one in done)
    return done


def folded(done: Compilation, options: Options) -> Compilation:
    """`done` with folded routers: only their text and variables differ, so that what comes before need not be done again."""
    options = replace(options, routers="folded")
    text = routers_text(done.program, options, source_name="flow.py")
    return replace(done, artifacts={**done.artifacts, "routers.py": text}, environment=environment_of(done.program, options))


def refused(text: str, options: Options | None = None, path: str = "flow.py") -> list[Diagnostic]:
    done = _outcome(text, path) if options is None else compile_source(text, path, options)
    assert isinstance(done, list), "the flow was accepted"
    return list(done)


@lru_cache(512)
def _outcome(text: str, path: str) -> Compilation | list[Diagnostic]:
    """Two tests ask for each mistake: which it is, and that it is one."""
    return compile_source(text, path)


def json_copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def edit(name: str, payload: Any) -> Any:
    """What the handler `name` makes of a payload: a changed copy, a pure function of both."""
    new = json_copy(payload)
    if isinstance(new, dict):
        new["calls"] = new.get("calls", 0) + 1
        new["last"] = name
        if isinstance(new.get("n"), int):
            new["n"] += len(name) % 3
    return new


class _Plain(ast.NodeTransformer):
    """The flow for plain execution: loops over JSON snapshots, while loops under the same bound."""

    def __init__(self, bound: int) -> None:
        self.bound = bound

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = ast.Call(func=ast.Name(id="_snapshot", ctx=ast.Load()), args=[node.iter], keywords=[])
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        name = f"_turns_{node.lineno}_{node.col_offset}"
        turn = ast.parse(f"{name} = _turn({name}, {self.bound})").body
        node.body = [*turn, *node.body]
        return [*ast.parse(f"{name} = 0").body, node]  # type: ignore[return-value]


def _turn(turns: int, bound: int) -> int:
    if bound and turns + 1 > bound:
        raise RuntimeError("bound")
    return turns + 1


def _snapshot(iterable: Any) -> Any:
    if isinstance(iterable, range):
        return iterable
    return [tuple(json_copy(list(one))) if type(one) is tuple else json_copy(one) for one in list(iterable)]


def plain(text: str, done: Compilation, payload: Any, *, bound: int = 100) -> Run:
    """Run the flow as Python; handlers are whatever the flow's calls name."""
    run = Run()
    tree = ast.parse(text)
    tree = ast.fix_missing_locations(_Plain(bound).visit(tree))
    space: dict[str, Any] = {"_snapshot": _snapshot, "_turn": _turn, "__builtins__": builtins, "__name__": "flow"}
    handlers = {one.key: one for one in done.program.flow.handlers}

    def stand_in(name: str) -> Callable[[Any], Any]:
        def handler(value: Any) -> Any:
            run.seen.append((name, json_copy(value)))
            return edit(name, value)

        return handler

    for node in list(tree.body):  # handlers of the file are replaced below; their imports may not exist here
        if isinstance(node, ast.Import | ast.ImportFrom) and not _is_library(node):
            tree.body.remove(node)
    exec(compile(tree, "flow.py", "exec"), space)
    tree_of_names: dict[str, Any] = {}
    for one in handlers.values():
        level = tree_of_names
        for part in one.text[:-1]:
            level = level.setdefault(part, {})
        level[one.text[-1]] = stand_in(one.actor)
    for name, member in tree_of_names.items():
        space[name] = _named(name, member)
    try:
        run.final = json_copy(space[done.flow](json_copy(payload)))
    except Exception as error:
        run.error = type(error).__name__
    return run


def _named(name: str, member: Any) -> Any:
    """A stand-in for a module or class: both have members, and a class can be called."""
    if not isinstance(member, dict):
        return member
    members = {key: _named(key, one) for key, one in member.items()}
    return type(name, (), {key: staticmethod(one) if not isinstance(one, type) else one for key, one in members.items()})


def _is_library(node: ast.Import | ast.ImportFrom) -> bool:
    names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """The process environment with these as its only `ASYA_` variables."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ASYA_")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


def load(done: Compilation) -> dict[str, Any]:
    """The generated module's names."""
    space: dict[str, Any] = {"__name__": "routers"}
    exec(_code(done.artifacts["routers.py"]), space)
    return space


@lru_cache(4)
def _code(text: str) -> CodeType:
    return compile(text, "routers.py", "exec")


def mesh(done: Compilation, payload: Any, *, redeliver: bool = False, tail: Sequence[str] = ("t-1", "t-2")) -> Run:
    """Run the routers with the route ``pre, start`` and `tail`, and check, for each router, what must not change."""
    run = Run()
    space = load(done)
    routers = {one.actor: space[one.name] for one in done.routers}
    is_folded = f"folded_{done.flow}" in space
    if is_folded:
        routers = {done.entry: space[f"folded_{done.flow}"]}
    names = {one.actor for one in done.program.flow.handlers}
    envelope = {
        "id": "e1",
        "parent_id": "e0",
        "headers": {"trace": "t"},
        "deadline": "d",
        "other": [1],
        "route": {"actors": ["pre", done.entry, *tail], "current": 1},
        "payload": json_copy(payload),
    }
    with environment(dict(done.environment)):
        while True:
            route = envelope["route"]
            if route["current"] == len(route["actors"]) - len(tail):
                break
            entry = route["actors"][route["current"]]
            run.hops += 1
            assert run.hops < HOPS, "the envelope does not arrive"
            actor = entry.partition(":")[0]
            before = json_copy(envelope)
            if actor in names:
                run.seen.append((actor, json_copy(envelope["payload"])))
                envelope["payload"] = edit(actor, envelope["payload"])
                route["current"] += 1
                continue
            try:
                after = routers[actor](json_copy(before))
                if redeliver:
                    assert json_copy(routers[actor](json_copy(before))) == json_copy(after), "a redelivery is decided otherwise"
            except Exception as error:
                run.error = type(error).__name__
                return run
            _unchanged(before, after, moves_once=not is_folded)
            envelope = json_copy(after)
    assert envelope["route"]["actors"][len(envelope["route"]["actors"]) - len(tail) :] == [*tail]
    assert envelope["headers"] == {"trace": "t"}, "state is left behind"
    run.final = envelope["payload"]
    return run


def _unchanged(before: Any, after: Any, *, moves_once: bool) -> None:
    current = before["route"]["current"]
    moved = after["route"]["current"] - current
    assert moved == 1 if moves_once else 1 <= moved <= 64
    assert after["route"]["actors"][: current + 1] == before["route"]["actors"][: current + 1], "the past was edited"
    behind = before["route"]["actors"][current + 1 :]
    assert not behind or after["route"]["actors"][-len(behind) :] == behind, "the tail was edited"
    for key in ("id", "parent_id", "deadline", "other"):
        assert after[key] == before[key]
    assert after["headers"]["trace"] == "t"


def agree(text: str, *payloads: Any, options: Options | None = None) -> Compilation:
    """Compile, then compare plain Python and mesh, per actor and folded, for every payload."""
    options = options or Options()
    done = compiled(text, options)
    in_one = compiled(text, replace(options, routers="folded"))
    for payload in payloads or ({},):
        expected = plain(text, done, payload, bound=options.max_iterations)
        for one in (done, in_one):
            found = mesh(one, payload, redeliver=True)
            assert (found.seen, found.final, found.error) == (expected.seen, expected.final, expected.error), done.artifacts["routers.py"]
    return done


def steps_of(done: Compilation, payload: Any) -> list[str]:
    """The handlers that a run passes."""
    return [name for name, _ in mesh(done, copy.deepcopy(payload)).seen]
