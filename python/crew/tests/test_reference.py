"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from asya_core.ops.settings import markdown_table
from asya_crew.record import Kind
from asya_crew.settings import CrewSettings

PAGES = Path(__file__).parents[3] / "docs/reference"
RESULTS = (PAGES / "results.md").read_text(encoding="utf-8")
STORAGE = (PAGES / "storage.md").read_text(encoding="utf-8")


def test_the_page_has_the_table_of_settings() -> None:
    assert markdown_table(CrewSettings) in RESULTS


@pytest.mark.parametrize("kind", Kind)
def test_the_page_has_the_keys(kind: Kind) -> None:
    assert f"`{kind}/<id>.json`" in RESULTS


def test_the_page_has_the_codes_of_errors() -> None:
    source = (Path(__file__).parents[2] / "core/asya_core/objects").rglob("*.py")
    text = "".join(each.read_text(encoding="utf-8") for each in source)
    codes = {
        code
        for code in (
            "storage_unavailable",
            "storage_full",
            "no_such_storage",
            "access_denied",
            "no_such_object",
            "object_too_large",
            "storage_refused",
            "bad_key",
        )
        if f'"{code}"' in text
    }
    assert len(codes) == 8
    assert all(f"`{code}`" in STORAGE for code in codes)
