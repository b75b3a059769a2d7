"""Promises about the file itself: where it runs, what it imports, what its documentation says."""

import ast
import re
import sys
from pathlib import Path

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


def test_file_evaluates_and_unpickles_nothing() -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Call)}
    assert calls & {"eval", "exec", "compile", "os.system", "os.popen", "pickle.loads", "marshal.load", "marshal.loads"} == set()


def test_version_is_the_distributions() -> None:
    assert f'version = "{asya_runtime.__version__}"' in (REPOSITORY / "pyproject.toml").read_text("utf-8")


def test_each_setting_is_in_the_reference_with_its_default() -> None:
    page = (REPOSITORY / "docs" / "reference" / "runtime.md").read_text("utf-8")
    for name, default, _ in asya_runtime.SETTINGS:
        assert re.search(rf"^\| `{name}` \| {f'`{default}`' if default else '–'} \|", page, re.MULTILINE), name


def test_backoff_starts_after_three_quick_deaths_and_ends_at_30_seconds() -> None:
    assert [asya_runtime.backoff_seconds(deaths) for deaths in (1, 3, 4, 5, 6, 20)] == [0.0, 0.0, 1.0, 2.0, 4.0, 30.0]
