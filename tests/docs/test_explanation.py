"""Pages of explanation say what is so: numbers, results of benchmarks, drawings."""

import re
from pathlib import Path

import asya_runtime
from asya_core.ops.settings import settings_table
from asya_core.transports.rabbitmq import topology
from asya_core.wire import envelope, names, route
from ci import compared_page, drawings, settings_reference
from tests.docs.pages import ROOT

EXPLANATION = ROOT / "docs" / "explanation"
LIMITS = (EXPLANATION / "limits.md").read_text(encoding="utf-8")


def defaults() -> dict[str, set[str]]:
    """The defaults of every setting, by name."""
    found: dict[str, set[str]] = {}
    for settings in settings_reference.CLASSES.values():
        for row in settings_table(settings):
            found.setdefault(row.name, set()).add(str(row.default))
    for name, default, _ in asya_runtime.SETTINGS:
        found.setdefault(name, set()).add(default)
    return found


def test_limits_that_settings_set_are_their_defaults() -> None:
    told = re.findall(r"`(ASYA_[A-Z_]+)` = `(\w+)`", LIMITS)
    assert len(told) > 8
    known = defaults()
    assert [(name, value) for name, value in told if value not in known[name]] == []


def test_limits_that_are_constants_are_those_of_the_code() -> None:
    rows = {cells[0]: cells[1] for line in LIMITS.splitlines() if line.startswith("| ") and len(cells := line.strip("| ").split(" | ")) > 2}
    assert rows["entries of a route"] == f"{route.MAX_ENTRIES:,}"
    assert rows["headers"] == f"{envelope.MAX_HEADERS_BYTES // 1024} KiB"
    assert rows["an id"].startswith("128 ")
    assert names.is_envelope_id("a" * 128)
    assert not names.is_envelope_id("a" * 129)
    assert f"{names.MAX_ACTOR_LENGTH} characters" in LIMITS
    assert rows["a retry's delay on RabbitMQ"] == f"{topology.DELAY_STEPS_MS[-1] // 1000} s, in twelve steps"
    assert len(topology.DELAY_STEPS_MS) == 12


def test_comparison_has_the_last_results() -> None:
    assert (EXPLANATION / "compared.md").read_text(encoding="utf-8") == compared_page.page(), "run make generate"


def test_comparison_leaves_out_no_system_that_was_measured() -> None:
    text = compared_page.RESULTS.read_text(encoding="utf-8")
    rows = list(compared_page.rows(text))
    for heading, found in compared_page.tables(text):
        systems = {row["system"] for row in found if compared_page.PEERS.match(row["system"])}
        assert all(any(row.startswith(f"| {heading} | {system} |") for row in rows) for system in systems)
    assert len(rows) > 10


def test_drawings_are_of_their_sources() -> None:
    sources = sorted(drawings.IMAGES.glob("*.dot"))
    assert [path.name for path in sources] == ["architecture.dot"]
    for source in sources:
        assert drawings.drawn_from(source.with_suffix(".svg")) == drawings.digest(source), f"{source.name} has changed: run make generate"


def test_drawing_shows_every_box_of_its_source() -> None:
    source = (drawings.IMAGES / "architecture.dot").read_text(encoding="utf-8")
    picture = Path(drawings.IMAGES / "architecture.svg").read_text(encoding="utf-8")
    boxes = re.findall(r"^\s+(\w+)\s+\[label=", source, re.M)
    assert len(boxes) > 10
    assert [box for box in boxes if f"<title>{box}</title>" not in picture] == []
