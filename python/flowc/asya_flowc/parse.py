"""Text → syntax tree. Decides E001–E003 and nothing else; called by the pipeline.

Must not know what a flow is.
"""

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass

from asya_flowc.diagnostics import Reporter
from asya_flowc.source import Source, Span

__all__ = ["UnreadableSource", "compiles_as_python", "decode", "parse"]


@dataclass(frozen=True, slots=True)
class UnreadableSource(Exception):
    """The bytes are no Python text; `reason` is one sentence for E001."""

    reason: str


def decode(data: bytes) -> str:
    """The text of a file's bytes, by its coding cookie or byte order mark, else UTF-8. Raises UnreadableSource."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except SyntaxError as error:
        raise UnreadableSource(f"{error.msg}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableSource(f"byte 0x{data[error.start]:02x} in line {line} is not valid {error.encoding}") from error


def parse(source: Source, report: Reporter) -> ast.Module | None:
    """The module's tree, or None with E001–E003 reported."""
    null = source.text.find("\0")
    if null >= 0:
        line = source.text.count("\n", 0, null) + 1
        column = null - (source.text.rfind("\n", 0, null) + 1) + 1
        report.add("E001", Span(line, column, line, column + 1), "the file holds a null byte")
        return None
    try:
        source.text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = source.text.count("\n", 0, error.start) + 1
        report.add("E001", Span(line, 1, line, 1), "the file holds a character that UTF-8 cannot encode")
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source.text)
        except SyntaxError as error:
            _report_syntax(error, source, report)
        except (RecursionError, MemoryError):
            report.add("E003", Span(1, 1, 1, 1), "the file is nested too deeply to parse")
    return None


def compiles_as_python(tree: ast.Module, source: Source, report: Reporter) -> bool:
    """Whether Python itself would take the file: what only its compiler finds (names declared twice, …) is E002."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(tree, source.path, "exec", dont_inherit=True)
        except SyntaxError as error:
            _report_syntax(error, source, report)
            return False
        except RecursionError:
            report.add("E003", Span(1, 1, 1, 1), "the file is nested too deeply to compile")
            return False
    return True


def _report_syntax(error: SyntaxError, source: Source, report: Reporter) -> None:
    line = min(max(error.lineno or 1, 1), max(len(source.lines), 1))
    column = max(error.offset or 1, 1)
    end = error.end_offset if error.end_lineno == error.lineno and error.end_offset else column + 1
    code = "E003" if "too many" in error.msg and ("nested" in error.msg or "indentation" in error.msg) else "E002"
    report.add(code, Span(line, column, line, max(end, column + 1)), f"Python cannot read this: {error.msg}")
