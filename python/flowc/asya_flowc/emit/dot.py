"""`flow.dot`: the graph as Graphviz reads it. Ids are numbers, so that no name can clash or need quoting."""

from asya_flowc.emit.graph import Edge, Graph, Node

__all__ = ["dot_text"]

_COLOURS = {"handler": "lightblue", "start": "lightgreen", "end": "lightgreen"}
_EDGES = {"true": "darkgreen", "body": "darkgreen", "false": "red", "done": "red"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": " "}


def dot_text(graph: Graph, *, title: str, width: int) -> str:
    """The diagram, top-down. `width`: characters of the longest row of a label; longer text is cut in the middle."""
    numbers = {node.id: index for index, node in enumerate(graph.nodes)}
    lines = [
        f'digraph "{_escaped(title)}" {{',
        "  rankdir=TB;",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    lines += [
        f'  {numbers[node.id]} [label="{_label(node, width)}", fillcolor={_COLOURS.get(node.kind, "wheat")}];' for node in graph.nodes
    ]
    lines += [f"  {numbers[edge.source]} -> {numbers[edge.target]}{_style(edge)};" for edge in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _label(node: Node, width: int) -> str:
    return "".join(_escaped(cut(row, width)) + "\\n" for row in (node.name, *node.code)) if node.code else _escaped(cut(node.name, width))


def _style(edge: Edge) -> str:
    parts = []
    if edge.label != "next":
        parts.append(f'label="{edge.label}"')
    if edge.label in _EDGES:
        parts.append(f"color={_EDGES[edge.label]}")
    if edge.is_back:
        parts.append("style=dashed")
    return f" [{', '.join(parts)}]" if parts else ""


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters, its middle replaced by an ellipsis."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[:width]
    head = (width - 1 + 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :] if width - 1 - head else ''}"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(mark) or (mark if mark.isprintable() else "?") for mark in text)
