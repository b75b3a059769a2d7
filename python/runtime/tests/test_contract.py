"""Promises about the file itself: where it runs, what it imports, what its documentation says."""

import ast
import re
import sys
from pathlib import Path

import pytest

import asya_runtime

REPOSITORY = Path(__file__).parents[3]
SOURCE = (REPOSITORY / "python" / "runtime" / "asya_runtime.py").read_text("utf-8")


def test_file_parses_as_python_3_9() -> None:
    ast.parse(SOURCE, feature_version=(3, 9))


def test_file_imports_the_standard_library_only() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names - sys.stdlib_module_names - {"annotationlib"} == set()


PRODUCT = sorted(path for path in (REPOSITORY / "python").rglob("*.py") if "tests" not in path.relative_to(REPOSITORY).parts)
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "code", "codeop", "runpy", "pty", "commands"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
ALLOWED = {
    # The runtime hands its own, already compiled code object to a fresh interpreter through an anonymous file of its own process
    # (`restart_compiled`): marshal.dumps writes, nothing that came from outside is ever read back.
    ("python/runtime/asya_runtime.py", "import marshal"),
    # `asya run` does the same for all runtimes that it starts, with the code of the runtime that is installed beside it.
    ("python/cli/asya_cli/run/runtime_program.py", "import marshal"),
    # The flow compiler tries out a constant of its own module, the function that it writes into every routers.py, and nothing else.
    ("python/flowc/asya_flowc/runtime_text.py", "exec"),
}


def doubtful(tree: ast.AST) -> set[str]:
    """What in a module may turn data into code: imports, calls and arguments, as they are written."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {f"import {alias.name}" for alias in node.names if alias.name.partition(".")[0] in FORBIDDEN_MODULES}
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in FORBIDDEN_MODULES:
            found.add(f"from {node.module} import")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if (
                name in FORBIDDEN_CALLS
                or name.startswith(("os.spawn", "os.posix_spawn"))
                or name.endswith((".marshal.loads", "create_subprocess_shell"))
            ):
                found.add(name)
            found |= {f"{name}(shell=…)" for keyword in node.keywords if keyword.arg == "shell" and ast.unparse(keyword.value) != "False"}
    return found


def test_product_code_makes_no_code_of_data() -> None:
    assert len(PRODUCT) > 20
    found = {(str(path.relative_to(REPOSITORY)), what) for path in PRODUCT for what in doubtful(ast.parse(path.read_text("utf-8")))}
    assert found - ALLOWED == set()


@pytest.mark.parametrize("file", sorted(file for file, what in ALLOWED if what == "import marshal"))
def test_marshalled_code_is_written_and_none_is_read(file: str) -> None:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    uses = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "marshal"]
    assert uses == ["dumps"]


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import marshal",
        "eval(x)",
        "exec(x)",
        "os.system(x)",
        "yaml.load(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "await asyncio.create_subprocess_shell(x)",
    ],
)
def test_doubtful_code_is_found(text: str) -> None:
    assert doubtful(ast.parse(text)) != set()


def test_version_is_the_distributions() -> None:
    assert f'version = "{asya_runtime.__version__}"' in (REPOSITORY / "pyproject.toml").read_text("utf-8")


def test_each_setting_is_in_the_reference_with_its_default() -> None:
    page = (REPOSITORY / "docs" / "reference" / "runtime.md").read_text("utf-8")
    for name, default, _ in asya_runtime.SETTINGS:
        assert re.search(rf"^\| `{name}` \| {f'`{default}`' if default else '–'} \|", page, re.MULTILINE), name


def test_backoff_starts_after_three_quick_deaths_and_ends_at_30_seconds() -> None:
    assert [asya_runtime.backoff_seconds(deaths) for deaths in (1, 3, 4, 5, 6, 20)] == [0.0, 0.0, 1.0, 2.0, 4.0, 30.0]
