"""The flow as a graph of nodes and edges, and `flow.json`, which holds it. The diagram and the gateway's page draw from it."""

import json
from dataclasses import dataclass
from hashlib import sha256

from asya_flowc.diagnostics import Diagnostic
from asya_flowc.ir import Chain, HandlerUse, Program, Router, RouterKind, Step
from asya_flowc.options import Options

__all__ = ["Edge", "Graph", "Node", "flow_json", "graph_of", "to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A router, or one use of a handler. `code`: a row for each mutation, then the test."""

    id: str
    kind: str
    name: str
    actor: str
    handler: str
    line: int
    end_line: int
    code: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One way. `is_back`: it leads to the router of a loop that it is in."""

    source: str
    target: str
    label: str
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes in order of position, edges in order of their sources."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(program: Program) -> Graph:
    """The graph of `program`: shared chains appear once."""
    work = _Drawing(program)
    for router in program.routers:
        work.router(router)
    for router in program.routers:
        for arm in router.arms:
            work.chain(work.ids[router.number], arm.chain, arm.label, router)
    return Graph(nodes=tuple(work.nodes), edges=tuple(work.edges))


class _Drawing:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.ids: dict[int, str] = {}
        self.uses: dict[int, str] = {}
        self.counts: dict[str, int] = {}
        self.seen: set[tuple[str, str, str]] = set()
        self.handlers = {one.key: one for one in program.flow.handlers}

    def router(self, router: Router) -> None:
        code = [one.code for one in router.body]
        if router.expression:
            code.append(f"for {router.target} in {router.expression}" if router.target else f"{router.kind} {router.expression}")
        self.ids[router.number] = router.name
        self.nodes.append(
            Node(
                id=router.name, kind=str(router.kind), name=router.name, actor=router.actor, handler=f"routers.{router.name}",
                line=router.span.line, end_line=router.span.end_line, code=tuple(code),
            )
        )  # fmt: skip

    def chain(self, source: str, chain: Chain, label: str, router: Router) -> None:
        current, text = source, label
        part: Chain | None = chain
        while part is not None:
            for step in part.steps:
                target = self.step(step)
                key = (current, target, text)
                if key in self.seen:
                    return  # a shared rest is drawn already
                self.seen.add(key)
                is_back = not isinstance(step, HandlerUse) and step.router in router.scopes
                self.edges.append(Edge(source=current, target=target, label=text, is_back=is_back))
                current, text = target, "next"
            part = self.program.joins[part.join] if part.join is not None else None
        if router.kind is not RouterKind.END and not self.ends_in_router(chain):  # the end router is skipped
            end = self.program.routers[-1].name
            if (current, end, text) not in self.seen:
                self.seen.add((current, end, text))
                self.edges.append(Edge(source=current, target=end, label=text, is_back=False))

    def ends_in_router(self, chain: Chain) -> bool:
        last = self.program.last(chain)
        return last is not None and not isinstance(last, HandlerUse)

    def step(self, step: Step) -> str:
        if not isinstance(step, HandlerUse):
            return self.ids[step.router]
        if step.use not in self.uses:
            handler = self.handlers[step.handler]
            count = self.counts[handler.name] = self.counts.get(handler.name, 0) + 1
            name = handler.name if count == 1 else f"{handler.name}#{count}"
            self.uses[step.use] = name
            self.nodes.append(
                Node(
                    id=name, kind="handler", name=handler.name, actor=handler.actor, handler=handler.mapped_path,
                    line=step.span.line, end_line=step.span.end_line, code=(),
                )
            )  # fmt: skip
        return self.uses[step.use]


def to_json(graph: Graph) -> dict[str, object]:
    """Nodes and edges as `flow.json` holds them."""
    return {
        "nodes": [
            {
                "id": one.id, "kind": one.kind, "name": one.name, "actor": one.actor, "handler": one.handler, "line": one.line,
                "end_line": one.end_line, "code": list(one.code),
            }
            for one in graph.nodes
        ],
        "edges": [{"from": one.source, "to": one.target, "label": one.label, "back": one.is_back} for one in graph.edges],
    }  # fmt: skip


def flow_json(
    program: Program, graph: Graph, options: Options, *, source_name: str, warnings: list[Diagnostic], files: dict[str, str]
) -> str:
    """`flow.json`; `files` are the other artifacts, noted by the SHA-256 of their UTF-8 text."""
    mappings = {one.name: {"actor": one.actor, "handler": one.mapped_path} for one in program.flow.handlers}
    mappings |= {one.name: {"actor": one.actor, "handler": f"routers.{one.name}"} for one in program.routers}
    document = {
        "version": 1,
        "flow": program.flow.name,
        "source": source_name,
        "mode": options.routers,
        "mappings": mappings,
        "warnings": [
            {"code": one.public_code, "line": one.span.line, "column": one.span.column, "message": one.message} for one in warnings
        ],
        "files": {name: sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
        **to_json(graph),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
