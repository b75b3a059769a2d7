"""The pictures of docs/how-to/watch-envelopes-in-the-browser.md, taken on request: ASYA_PICTURES=docs/images, or any folder."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

FOLDER = os.environ["ASYA_PICTURES"]
WIDE = {"width": 1040, "height": 740}
FLOW = "ml_pipeline_flow"
RUN = (
    ("start-ml-pipeline-flow", 0.022, 0.004),
    ("validate-input", 0.011, 0.031),
    ("router-ml-pipeline-flow-line-4-if", 0.006, 0.003),
    ("normalize-data", 0.019, 0.16),
    ("extract-features", 0.14, 0.31),
    ("router-ml-pipeline-flow-line-13-if", 0.008, 0.004),
    ("router-ml-pipeline-flow-line-15-if", 0.007, 0.004),
    ("deep-model", 0.43, 0.92),
    ("format-results", 0.016, 0.08),
    ("router-ml-pipeline-flow-line-22-seq", 0.006, 0.003),
    ("end-ml-pipeline-flow", 0.007, 0.002),
)
"""Actor, seconds in its queue, seconds in its handler."""
TRACEBACK = """Traceback (most recent call last):
  File "/app/pages.py", line 31, in summarize
    first = payload["pages"][0]
            ~~~~~~~~~~~~~~~~^^^
IndexError: list index out of range
"""


def shot(page: Page, name: str) -> None:
    page.wait_for_timeout(400)
    page.screenshot(path=Path(FOLDER) / f"page-{name}.png", full_page=False)


def flow_run(mesh: Any, *, until: int | None = None) -> str:
    """A run of the flow on its way to the accurate model; `until`: the hop that runs now."""
    envelope_id = mesh.call(FLOW, {"model_type": "accurate", "rows": [[1.5, 2], [3, 4.25]], "source": "orders-2026-11.csv"})
    route = [each for each, _, _ in RUN]
    at = time.time()
    for hop, (_, queue, handler) in enumerate(RUN if until is None else RUN[: until + 1]):
        at = mesh.hop(envelope_id, route, hop, queue=queue, handler=handler, begin=at, state="running" if hop == until else "done")
    time.sleep(max(0.0, at - time.time()))  # the picture's times are true
    return envelope_id


def test_pictures(opened: Callable[..., Page], mesh_of: Callable[[str], Any]) -> None:
    Path(FOLDER).mkdir(exist_ok=True)
    page = opened(signed_in=False, viewport={"width": 640, "height": 520})
    page.get_by_label("API key").wait_for()
    shot(page, "sign-in")
    failed, done = seeded(mesh_of("client"))
    for theme, name in (("light", "envelopes"), ("dark", "envelopes-dark")):
        page = opened("#/envelopes", who="client", viewport=WIDE, color_scheme=theme)
        expect(page.get_by_role("main").locator("tbody tr")).to_have_count(9)
        shot(page, name)
    page = opened(f"#/envelopes/{done}", who="operator", viewport={"width": 1040, "height": 1180})
    expect(page.get_by_role("img", name=FLOW)).to_be_visible()
    shot(page, "envelope")
    page = opened(f"#/envelopes/{failed}", who="operator", viewport={"width": 1040, "height": 830})
    page.get_by_role("button", name="Show traceback").click()
    expect(page.get_by_text("Payload when it failed").first).to_be_visible()
    shot(page, "failed")
    page = opened(f"#/flows/{FLOW}", who="operator", viewport={"width": 1180, "height": 1180})
    page.get_by_role("button", name="Handler deep_model").click()
    shot(page, "flow")
    page = opened("#/envelopes", who="client", viewport={"width": 360, "height": 720})
    expect(page.get_by_role("main").locator("tbody tr")).to_have_count(9)
    shot(page, "phone")


def seeded(mesh: Any) -> tuple[str, str]:
    """Envelopes of every kind; gives the failed one and the one that went through the flow."""
    for text in ("hello world", "good morning", "one more"):
        mesh.final(mesh.call("text-processor", {"text": text}), result={"text": text, "processed": text.upper(), "length": len(text)})
    failed = mesh.call("two-hops", {"document": 17})
    route = ["text-processor", "second"]
    at = mesh.hop(failed, route, 0, queue=0.03, handler=0.14, begin=time.time())
    at = mesh.hop(failed, route, 1, queue=0.06, handler=0.21, begin=at)
    time.sleep(max(0.0, at - time.time()))
    record = {
        "payload": {"document": 17, "pages": []},
        "route": {"actors": route, "current": 1},
        "error": {"traceback": TRACEBACK},
    }
    mesh.fail(failed, record, type="IndexError", message="list index out of range", actor="second")
    cancelled = mesh.call("two-hops", {"document": 18})
    mesh.gateway.client.post(f"/envelopes/{cancelled}/cancel", headers={"Authorization": f"Bearer asya_client-{'k' * 38}"})
    done = flow_run(mesh)
    mesh.final(done, result={"label": "A", "score": 0.93, "pipeline_complete": True})
    flow_run(mesh, until=4)
    flow_run(mesh, until=7)
    mesh.call("text-processor", {"text": "still waiting"})
    return failed, done
