"""Breaks one rule of the compiler at a time and wants something to fail: golden cases, committed examples, then the tests. Run by hand.

    python python/flowc/tests/mutation_check.py [--quick] [PART]

Mutants: the rules of `RULES` by their sentence, and, systematically, every condition negated, every operand of `and` and `or` left out, every
`case` never taken and every statement without a value left out, in each function of lowering, passes and emitters, the emitted runtime included.
PART of a mutant's name chooses; --quick leaves the tests out, and what it prints is for them to notice. Prints a line for each that nothing notices and a count; exit 1 if there is one that `EQUIVALENT` does not
explain. Each mutant runs in a process forked from one that has everything but the compiler loaded.
"""

# ruff: noqa: E501 (a mutant is a line)

import ast
import importlib.abc
import importlib.util
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FLOWC = Path(__file__).parents[1]
ROOT = FLOWC.parents[1]
MODULES = ("lower", "passes", "emit", "runtime_text")
TESTS = ("test_codes", "test_phases", "test_situations", "test_output", "test_quickstart", "test_refused", "test_ir_text")
CPU_SECONDS = 120
NOTICED, UNNOTICED = 10, 11
RULES = [
    ("mutations before an if are not folded", "passes/split_routers.py", "first = _run_start(statements, index)\n                    chain = self.branch", "first = index\n                    chain = self.branch"),
    ("the false arm is lost", "passes/split_routers.py", "chain=self.block(branch.orelse, inner)", "chain=inner.after"),
    ("the arms lose the join", "passes/split_routers.py", "after=self.share(following), exit=around.exit, scopes=around.scopes", "after=around.exit, exit=around.exit, scopes=around.scopes"),
    ("return goes on", "passes/split_routers.py", "chain = around.exit", "chain = following"),
    ("break goes on with the loop", "passes/split_routers.py", "around.broken if kind is JumpKind.BREAK", "around.continued if kind is JumpKind.BREAK"),
    ("continue leaves the loop", "passes/split_routers.py", "else around.continued", "else around.broken"),
    ("a loop's else is lost", "passes/split_routers.py", 'Arm(label="done", chain=done)', 'Arm(label="done", chain=after)'),
    ("break runs the else", "passes/split_routers.py", "broken=after, continued=again", "broken=again, continued=again"),
    ("end is left out", "passes/split_routers.py", "Chain() if skips_end else", "Chain() if True else"),
    ("state of a left loop stays", "passes/scope_actions.py", "for one in (*left, *entered)", "for one in entered"),
    ("the flow's frame is not popped", "passes/scope_actions.py", "exits=exits,", "exits=False,"),
    ("same line and kind share a name", "passes/name_routers.py", 'else f"{base}_{taken[base]}"', "else base"),
    ("joins are never inlined nor counted", "passes/share_joins.py", "length > SHORT_JOIN and users[index] > 1", "True"),
    ("nested calls run outside in", "forms.py", "    found.reverse()\n    return found\n\n\ndef is_payload", "    return found\n\n\ndef is_payload"),
    ("current is not advanced", "emit/python.py", "{names.c} + 1\", f\"return {e}\"", "{names.c}\", f\"return {e}\""),
    ("insertion overwrites the tail", "emit/python.py", "[{names.c} + 1:{names.c} + 1]", "[{names.c} + 1:]"),
    ("insertion goes to the end", "emit/python.py", "['actors'][{names.c} + 1:{names.c} + 1] = {names.next}", "['actors'] += {names.next}"),
    ("a replaced payload is not written back", "emit/python.py", "    if router.body:\n        body.append(f\"{e}['payload']", "    if False:\n        body.append(f\"{e}['payload']"),
    ("the bound is off by one", "runtime_text.py", "if turns > bound:", "if turns >= bound:"),
    ("the snapshot loses its first item", "runtime_text.py", "'rest': cursor['rest'][1:]", "'rest': cursor['rest'][2:]"),
    ("tuples come back as lists", "runtime_text.py", "tuple(item['tuple'])", "list(item['tuple'])"),
    ("suffixes match within a component", "runtime_text.py", "end = '.' + name", "end = name"),
    ("the exact path does not win", "runtime_text.py", "if pair[1] == name]", "if False]"),
    ("handlers share a short name", "passes/resolve_names.py", "for name in (text, *longer):", "for name in (text.rpartition('.')[2],):"),
    ("generated names do not give way", "emit/python.py", "if name in used else name", "if False else name"),
    ("unreachable code is kept", "passes/drop_unreachable.py", "return tuple(kept), False\n        return", "continue\n        return"),
    ("locals cross routers", "check/expressions.py", "if name not in self.readable.bound:", "if False:"),
]  # fmt: skip
EQUIVALENT: dict[str, str] = {
    "lower handler: len(ref.text) < len(known.text) off by one": "two spellings of one handler that are equally long are equal: aliases are resolved",
    "runtime_text FOLDED _asya_folded: without colon": "an entry without a step has the step '', which is always one of the flow's",
    "emit/yaml _escaped: code < 256 off by one": "U+0100 is printable, so it is never escaped",
    "emit/yaml _escaped: code < 65536 off by one": "U+10000 is printable, so it is never escaped",
}
"""Mutant → why nothing can notice it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One broken rule: a name, the module's file, its broken text."""

    name: str
    file: Path
    text: str


def mutants() -> Iterator[Mutant]:
    """All of them: the named rules, then module by module."""
    for sentence, name, old, new in RULES:
        file = FLOWC / "asya_flowc" / name
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{sentence}: the text to break is gone from {name}"
        yield Mutant(name=sentence, file=file, text=text.replace(old, new))
    for part in MODULES:
        place = FLOWC / "asya_flowc" / part
        for file in sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            yield from _of_module(file)


def _of_module(file: Path) -> Iterator[Mutant]:
    text = file.read_text(encoding="utf-8")
    place = file.relative_to(FLOWC / "asya_flowc").with_suffix("").as_posix()
    yield from (Mutant(name=f"{place} {name}", file=file, text=broken) for name, broken in broken_texts(text))
    for node in ast.parse(text).body:  # the emitted runtime, which is text
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str() as inner)) if "def " in inner:
                for what, broken in broken_texts(inner):
                    whole = text.replace(ast.get_source_segment(text, node) or "", f"{name}: Final = {broken!r}")
                    yield Mutant(name=f"{place} {name} {what}", file=file, text=whole)
            case _:
                pass


def broken_texts(text: str) -> Iterator[tuple[str, str]]:
    """(what is broken, the whole text with it) for every point of every function of `text`."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    points = sum(len(list(_points(function))) for function in functions)
    del functions
    for number in range(points):
        tree = ast.parse(text)
        found = [
            (function.name, *point) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for point in _points(function)
        ]
        name, what, owner, field, index, new = found[number]
        if index is None:
            setattr(owner, field, new)
        else:
            getattr(owner, field)[index] = new
        yield f"{name}: {what}", ast.unparse(ast.fix_missing_locations(tree))


Point = tuple[str, ast.AST, str, int | None, ast.AST]


def _points(function: ast.FunctionDef) -> Iterator[Point]:
    """(what, node, field, index, replacement) of what can be broken in `function`, functions inside of it left to themselves."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.FunctionDef):
            continue
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield f"not ({ast.unparse(test)})", node, "test", None, ast.UnaryOp(op=ast.Not(), operand=test)
            case ast.comprehension(ifs=ifs):
                for index, test in enumerate(ifs):
                    yield f"not ({ast.unparse(test)})", node, "ifs", index, ast.UnaryOp(op=ast.Not(), operand=test)
            case ast.BoolOp(op=op, values=values):
                for index, value in enumerate(values):
                    yield f"without {ast.unparse(value)}", node, "values", index, ast.Constant(value=isinstance(op, ast.And))
            case ast.match_case(pattern=pattern, guard=None) if ast.unparse(pattern) != "_":
                yield f"no case {ast.unparse(pattern)}", node, "guard", None, ast.Constant(value=False)
            case ast.Compare(ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE() as op]):
                other = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}[type(op)]
                yield f"{ast.unparse(node)} off by one", node, "ops", 0, other()
            case _:
                pass
        for field in ("body", "orelse"):
            for index, one in enumerate(getattr(node, field, []) if isinstance(node, ast.stmt | ast.match_case) else []):
                yield from _statement(node, field, index, one)
        todo.extend(ast.iter_child_nodes(node))
    for index, one in enumerate(function.body):
        yield from _statement(function, "body", index, one)


def _statement(owner: ast.AST, field: str, index: int, node: ast.stmt) -> Iterator[Point]:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Expr | ast.AugAssign) and not is_docstring:
        yield f"without {ast.unparse(node).splitlines()[0]}", owner, field, index, ast.Pass()


class _Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant's text for its module."""

    def __init__(self, mutant: Mutant) -> None:
        parts = mutant.file.relative_to(FLOWC).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        search = [str(self.mutant.file.parent)] if self.mutant.file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(fullname, self.mutant.file, loader=self, submodule_search_locations=search)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.text, str(self.mutant.file), "exec"), module.__dict__)


def is_noticed(mutant: Mutant, *, quick: bool) -> bool:
    """Whether anything fails: what is quick to compare first, then, unless `quick`, the tests."""
    sys.meta_path.insert(0, _Broken(mutant))
    try:
        if _outputs_differ() or _tables_differ():
            return True
    except BaseException:
        return True
    if quick:
        return False
    import pytest

    os.environ["ASYA_FLOWS"] = "40"
    words = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    return pytest.main([*words, *(str(FLOWC / "tests" / f"{name}.py") for name in (*TESTS, "test_random_flows"))]) != 0


def _tables_differ() -> bool:
    """Whether a construct of `constructs.py` is no longer refused, warned of or run as it should be."""
    import constructs
    import oracle
    import test_codes

    for _, body, code in (*constructs.REFUSED, *constructs.WARNED):
        if code not in test_codes.codes_of(constructs.module(body)):
            return True
    for _, text, code in constructs.FILES:
        if code not in test_codes.codes_of(text):
            return True
    for code, (text, options) in test_codes.TRIGGERS.items():
        if code not in test_codes.codes_of(text, options):
            return True
    for _, body in constructs.ACCEPTED:
        oracle.agree(constructs.module(body), *constructs.PAYLOADS)
    return False


def _outputs_differ() -> bool:
    """Whether a golden case or a committed example is no longer what the compiler makes."""
    import test_cases

    from tests.flow_examples import FLOWS, NAMES, compile_into, files_below

    for case in test_cases.CASES:
        recorded = test_cases.sections(case.read_text(encoding="utf-8"))
        if test_cases.made(recorded["flow"]) != recorded:
            return True
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            (Path(folder) / f"{name}.py").write_bytes((FLOWS / f"{name}.py").read_bytes())
            compile_into(name, Path(folder))
            if files_below(Path(folder) / "compiled" / name) != files_below(FLOWS / "compiled" / name):
                return True
    return False


def forked(mutant: Mutant, *, quick: bool) -> bool:
    """`is_noticed` in a process of its own; one that does not end within its CPU time is noticed."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            os._exit(NOTICED if is_noticed(mutant, quick=quick) else UNNOTICED)
        finally:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (NOTICED, UNNOTICED) or code < 0, f"{mutant.name}: the check itself failed"
    return code != UNNOTICED


def main(part: str, *, quick: bool) -> int:
    """Run every mutant whose name holds `part`."""
    sys.path[:0] = [str(ROOT), str(FLOWC), str(FLOWC / "tests")]
    import hypothesis  # noqa: F401 - loaded once, for all
    import pytest  # noqa: F401
    import yaml  # noqa: F401

    import asya_cli.commands.flow
    import asya_cli.flow.folder
    import asya_cli.main  # noqa: F401

    assert not any(name.startswith("asya_flowc") for name in sys.modules), "the compiler must not be loaded yet"
    whole = FLOWC / "asya_flowc" / "lower.py"
    assert not forked(Mutant(name="control", file=whole, text=whole.read_text(encoding="utf-8")), quick=quick), (
        "the unbroken compiler fails already"
    )
    count = explained = unnoticed = 0
    for mutant in mutants():
        if part not in mutant.name:
            continue
        count += 1
        if forked(mutant, quick=quick):
            continue
        if mutant.name in EQUIVALENT:
            explained += 1
        else:
            unnoticed += 1
            print(f"[-] not noticed: {mutant.name}", flush=True)
    print(
        f"[{'-' if unnoticed else '+'}] {count} mutants: {count - unnoticed - explained} noticed, {explained} equivalent, {unnoticed} not noticed"
    )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--quick"]
    sys.exit(main(words[0] if words else "", quick="--quick" in sys.argv))
