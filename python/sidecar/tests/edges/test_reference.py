"""The reference page says what the code says."""

from pathlib import Path

from asya_core.ops.settings import markdown_table
from asya_sidecar.settings import SidecarSettings

PAGE = (Path(__file__).parents[4] / "docs/reference/sidecar.md").read_text(encoding="utf-8")


def test_the_page_has_the_table_of_settings() -> None:
    assert markdown_table(SidecarSettings) in PAGE
