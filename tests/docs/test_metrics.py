"""Metrics in the documentation: the page is what the code declares, and no page names one that is not there."""

import re
import runpy
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.monitoring import labels, promtool, registries, used

NAMED = re.compile(r"\basya_(?:sidecar|operator|gateway)_[a-z_]+\b(?![/.*])")


@pytest.mark.behaviour("metrics:documented")
def test_the_page_of_metrics_is_what_the_components_declare() -> None:
    made = runpy.run_path(str(ROOT / "ci" / "metrics_reference.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "run make generate"
    rows = re.findall(r"^\| `(asya_\w+)` \|", made["page"](), re.M)
    assert set(rows) == labels().keys()
    assert len(rows) == len(set(rows))


def test_no_page_names_a_metric_that_is_not_there() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("charts/*/README.md"), *ROOT.glob("changelog.d/*.md"), ROOT / "README.md"]
    named = {(name, page.name) for page in pages for name in NAMED.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > len(labels())
    assert [(name, page) for name, page in sorted(named) if not used(name) <= labels().keys()] == []


@pytest.mark.parametrize("component", ["sidecar", "operator", "gateway"])
def test_what_is_printed_is_legal_and_named_by_prometheus_own_rules(component: str, tmp_path: Path) -> None:
    said = promtool("check", "metrics", folder=tmp_path, given=registries()[component].text())
    assert said == ""
