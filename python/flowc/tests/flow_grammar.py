"""Hypothesis strategies: flows of every accepted form, and payloads that drive their tests."""

# ruff: noqa: E501 (a table of statements)

from hypothesis import strategies as st

HANDLERS = ("clean", "rate", "translate", "Model().process", "Model.score", "pkg.mod.load")
KEYS = ("n", "m", "flag", "kind")
_TESTS = (
    'p["n"] < {k}', 'p.get("m", 0) > {k}', 'p["flag"]', 'not p.get("flag")', 'p["kind"] in ("a", "b")', '"extra" in p', 'p["n"] % 2 == 0',
    '0 <= p["n"] < {k}', 'len(p["items"]) > {k}', 'any(v > {k} for v in p["items"])', 'p.get("a", {{}}).get("b") is None', 'p["missing"]',
    '(q := p["n"]) > {k} and q < LIMIT', 'True', '0', 'math.floor(p["n"] / 2) == {k}', 'p["items"] and p["items"].pop() == {k}',
)  # fmt: skip
_MUTATIONS = (
    'p["m"] = {k}', 'p["n"] += 1', 'p["n"] -= {k}', 'p["flag"] = not p["flag"]', 'p["kind"] = "ab"[{k} % 2]', 'p["a"] = {{"b": p["n"]}}',
    'p.update(extra={k})', 'p["items"].append({k})', 'p.pop("extra", None)', 'p.setdefault("seen", []).append(p["n"])',
    'p["x"] = p["y"] = {k}', 'p["x"], p["y"] = p["n"], {k}', 'p = {{**p, "r": {k}}}', 'p |= {{"z": {k}}}', 'p = p | {{"w": [c for c in "ab"]}}',
    'p = dict(p, e={k})', 'p = p.copy()', 'p["t"] = f"{{p[\'n\']!r:>4}}"', 'p["i"]: int = LIMIT', 'pass', 'p["sum"] = sum(r for r in p["items"])',
    'p["calls"] = p.get("calls", 0) * 2',
)  # fmt: skip
_LOCALS = ('v = p["n"] + {k}\np["v"] = v * 2', 'u, w = p["n"], {k}\nu += w\np["u"] = u', 'v = {k}\nif v < p["n"]:\n    p["big"] = True')


def _indent(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


@st.composite
def blocks(draw: st.DrawFn, depth: int, loop: int, names: tuple[str, ...]) -> str:
    """A block of statements; `loop` is how many loops are around it, `names` their variables."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 4 if depth else 2))):
        lines.append(draw(statements(depth, loop, names)))
    if draw(st.integers(0, 9)) == 0:
        ends = ["return p", 'return {**p, "end": 1}', "return clean(p)"] + (["break", "continue"] if loop else [])
        lines.append(draw(st.sampled_from(ends)) + "\n")
    return "".join(lines)


@st.composite
def statements(draw: st.DrawFn, depth: int, loop: int, names: tuple[str, ...]) -> str:
    k = draw(st.integers(0, 4))
    kind = draw(st.integers(0, 11 if depth else 5))
    if kind <= 2:
        handler = draw(st.sampled_from(HANDLERS))
        return f"p = {handler}(p)\n" if kind else f"p = {handler}({draw(st.sampled_from(HANDLERS))}(p))\n"
    if kind <= 4:
        return draw(st.sampled_from(_MUTATIONS)).format(k=k) + "\n"
    if kind == 5:
        if names and draw(st.booleans()):
            return f'p["item"] = {draw(st.sampled_from(names))}\n'
        return draw(st.sampled_from(_LOCALS)).format(k=k) + "\n"
    inner = blocks(depth - 1, loop, names)
    if kind <= 8:
        text = f"if {draw(st.sampled_from(_TESTS)).format(k=k)}:\n{_indent(draw(inner))}"
        for _ in range(draw(st.integers(0, 2))):
            text += f"elif {draw(st.sampled_from(_TESTS)).format(k=k)}:\n{_indent(draw(inner))}"
        return text + (f"else:\n{_indent(draw(inner))}" if draw(st.booleans()) else "")
    if kind == 9:
        test = draw(st.sampled_from(('p["n"] < {k}', 'p["items"]', "True", 'p["flag"] and p["n"] < {k}'))).format(k=k + 2)
        step = draw(st.sampled_from(('p["n"] += 1\n', 'p["items"] = p["items"][1:]\n', 'p["n"] += 1\nif p["n"] > 7:\n    break\n')))
        text = f"while {test}:\n{_indent(step + draw(blocks(depth - 1, loop + 1, names)))}"
    else:
        name = f"x{len(names)}"
        head, bound = draw(
            st.sampled_from(
                (
                    (f'{name} in p["items"]', name), (f"{name} in range({k})", name), (f"i{name}, {name} in enumerate(p[\"items\"])", name),
                    (f'{name} in list(p.get("a", {{}}).items())', name), (f'{name} in [{{"v": v}} for v in p["items"]]', name),
                )
            )
        )  # fmt: skip
        text = f"for {head}:\n{_indent(draw(blocks(depth - 1, loop + 1, (*names, bound))))}"
    return text + (f"else:\n{_indent(draw(inner))}" if draw(st.integers(0, 3)) == 0 else "")


@st.composite
def flows(draw: st.DrawFn) -> str:
    """The text of a module with one flow; some end without return."""
    body = draw(blocks(2, 0, ()))
    end = draw(st.sampled_from(("return p\n", "return p\n", "", "p = clean(p)\nreturn p\n")))
    return f'import math\nLIMIT = 3\n\ndef flow(p: dict) -> dict:\n    """Drawn."""\n{_indent(body + end)}'


def payloads() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {
            "n": st.integers(0, 5), "m": st.integers(0, 5), "flag": st.booleans(), "kind": st.sampled_from(("a", "b", "c")),
            "items": st.lists(st.integers(0, 4), max_size=3), "a": st.fixed_dictionaries({"b": st.integers(0, 2)}),
        }
    )  # fmt: skip
