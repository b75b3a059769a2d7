"""The reference pages say what the code says."""

import re
from pathlib import Path

import pytest

from asya_core.ops.settings import markdown_table, settings_table
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


def test_the_chart_sets_only_settings_that_there_are() -> None:
    templates = (Path(__file__).parents[3] / "charts/asya-crew").rglob("*.tpl")
    named = {name for each in templates for name in re.findall(r"ASYA_CREW_[A-Z0-9_]+", each.read_text(encoding="utf-8"))}

    assert "ASYA_CREW_STORAGE_URL" in named
    assert named <= {row.name for row in settings_table(CrewSettings)}
