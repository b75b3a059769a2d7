"""The compiled text-analysis flow: one release for each router and handler, from the files that `asya flow compile` wrote."""

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.helm import ROOT
from tests.e2e.stage import QUICK, Stage

pytestmark = pytest.mark.timeout(900)

FLOWS = ROOT / "examples" / "flows"
VALUES = FLOWS / "compiled" / "text_analysis_flow" / "values"
START = "start-text-analysis-flow"


@pytest.fixture
def flow(crewed: Stage, tmp_path: Path) -> Stage:
    """All actors of the flow."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump(QUICK))
    files = sorted(VALUES.rglob("*.yaml"))
    for file in files:
        crewed.helm.install(crewed.namespace, file.stem, "asya-actor", "--values", str(file), "--values", str(overlay))
    for file in files:
        crewed.await_condition(file.stem, "QueueReady", "True")
    return crewed


def test_flow_takes_each_branch_and_an_exception_reaches_error_end_with_its_traceback(flow: Stage) -> None:
    english = json.loads((FLOWS / "inputs" / "text_analysis_flow.json").read_text())
    spanish = {"language": "es", "text": "El servicio de Madrid es lento"}
    german = {"language": "de", "text": "Der Dienst in Berlin ist gut"}
    broken = {"language": "en", "text": 7}
    ids = flow.publish(START, english, spanish, german, broken)

    assert flow.result(ids[0])["payload"] == json.loads((FLOWS / "expected" / "text_analysis_flow.json").read_text())
    by_language = [flow.result(id_)["payload"] for id_ in ids[1:3]]
    assert [(each["sentiment"], each["extracted"]) for each in by_language] == [("negative", True), ("neutral", True)]

    error = flow.failure(ids[3])["error"]
    assert (error["actor"], error["type"]) == ("clean-text", "AttributeError")
    assert 'p["text"].split()' in error["traceback"]
    assert flow.failure(ids[3])["payload"] == broken
    assert flow.stored("results") == set(ids[:3])
