"""Every block of the quick start stands somewhere as printed and is run from there, or the table says what is done instead."""

from pathlib import Path

import pytest

from tests.docs.pages import functions_of
from tests.docs.quickstart.printed import PRINTED, Printed, digest, normal

ROOT = Path(__file__).parents[3]
IDS = [f"{number} {each.first}" for number, each in enumerate(PRINTED, 1)]


@pytest.mark.parametrize("printed", PRINTED, ids=IDS)
def test_lines_of_the_block_stand_in_its_file(printed: Printed) -> None:
    if not printed.file:
        assert printed.instead
        return
    lines = normal((ROOT / printed.file).read_text(encoding="utf-8"))
    windows = (lines[at : at + printed.lines] for at, line in enumerate(lines) if line.startswith(printed.first))
    assert any(digest(window) == printed.digest for window in windows)


@pytest.mark.parametrize("place", sorted({place for each in PRINTED for place in each.tests}))
def test_test_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    assert name in functions_of(file)


@pytest.mark.parametrize(
    "printed", [each for each in PRINTED if each.file], ids=[name for name, each in zip(IDS, PRINTED, strict=True) if each.file]
)
def test_one_of_its_tests_reads_the_file(printed: Printed) -> None:
    file = Path(printed.file)
    texts = [(ROOT / place.partition("::")[0]).read_text(encoding="utf-8") for place in printed.tests]
    assert any(place.startswith(printed.file) for place in printed.tests) or any(
        word in text for text in texts for word in (file.name, f'"{file.parent.name}"', f"/{file.parent.name}/")
    )


def test_digest_is_of_lines_without_their_blanks() -> None:
    assert digest(normal("a\n   b  c\n\n")) == digest(["a", "b c"])
    assert digest(["a", "b c"]) != digest(["a", "b"])
