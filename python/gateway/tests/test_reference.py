"""docs/reference/gateway.md holds the tables that the code makes."""

from pathlib import Path

import pytest

from asya_core.ops.settings import markdown_table
from asya_gateway.http.errors import STATUS
from asya_gateway.settings import GatewaySettings
from asya_gateway.tools import TOOL_KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "gateway.md").read_text(encoding="utf-8")


def test_table_of_settings_is_the_codes():
    assert markdown_table(GatewaySettings) in PAGE


@pytest.mark.parametrize(("code", "status"), STATUS.items())
def test_error_code_is_told_with_its_status(code, status):
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {status} |"))
    assert f"`{code}`" in line


@pytest.mark.parametrize("key", TOOL_KEYS)
def test_key_of_a_tool_is_told(key):
    assert f"`{key}`" in PAGE
