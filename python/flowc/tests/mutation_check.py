"""Breaks one rule of the compiler at a time, in a copy, and wants a test to fail. Run by hand, PART of a sentence chooses.

Prints a line for each; exit 1 if a broken rule went unnoticed.
"""

# ruff: noqa: E501 (a mutant is a line)

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLOWC = Path(__file__).parents[1]
MUTANTS = [
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


def main(part: str) -> int:
    """Run every mutant whose sentence holds `part`."""
    unnoticed = 0
    for sentence, file, old, new in MUTANTS:
        if part not in sentence:
            continue
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "python" / "flowc"
            shutil.copytree(FLOWC, copy, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(FLOWC.parents[1] / "docs" / "reference", Path(folder) / "docs" / "reference")
            target = copy / "asya_flowc" / file
            text = target.read_text(encoding="utf-8")
            if text.count(old) < 1:
                print(f"[-] {sentence}: the text to break is gone from {file}")
                unnoticed += 1
                continue
            target.write_text(text.replace(old, new), encoding="utf-8")
            environ = {**os.environ, "PYTHONPATH": str(copy), "ASYA_FLOWS": "60"}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
            files = [str(copy / "tests" / name) for name in ("test_refused.py", "test_quickstart.py", "test_output.py", "test_cases.py")]
            done = subprocess.run(
                [*command, *files, "-c", os.devnull], cwd=folder, env=environ, capture_output=True, text=True, check=False
            )
        noticed = done.returncode == 1
        unnoticed += not noticed
        print(f"[{'+' if noticed else '-'}] {sentence}: {'noticed' if noticed else f'not noticed (exit {done.returncode})'}", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
