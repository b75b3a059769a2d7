"""The page as people use it: by mouse, by keyboard, by ear, on a phone; live, after a cut, with hostile content."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.xdist_group("page")  # one browser and one gateway for all of them
Open = Callable[..., Page]
HOSTILE = '<script>window.hit = 1</script><img src=x onerror="window.hit = 2">'
WIDE, PHONE = {"width": 1180, "height": 800}, {"width": 320, "height": 700}
LOOKS = ["color-contrast", "scrollable-region-focusable", "target-size", "td-headers-attr", "th-has-data-cells"]
"""Rules of axe that another theme or width may break; the others look at what stays the same."""


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_contain_text(text)


def faults(page: Page, axe: str) -> list[str]:
    """What axe finds, light and wide, dark and narrow; and whether the page is wider than its screen."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found: list[str] = []
    for theme, size, rules in (("light", WIDE, None), ("dark", PHONE, LOOKS)):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]
        options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
        told = page.evaluate("(options) => axe.run(document, options).then((told) => told.violations)", options)
        found += [f"{theme}: {each['id']} {[node['html'][:200] for node in each['nodes']]}" for each in told]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"wider than {size}")
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    return found


def rows(page: Page) -> Any:
    return page.get_by_role("main").locator("tbody tr")


# ------------------------------------------------------------------------------------------------------------------------ sign-in


@pytest.mark.behaviour("page:sign-in")
def test_key_signs_in_by_keyboard_and_is_out_of_reach_of_scripts(opened: Open, keys: dict[str, str], axe: str) -> None:
    page = opened(who="stranger", signed_in=False, expected=("401",))
    expect(page.get_by_label("API key")).to_be_focused()
    assert faults(page, axe) == []
    page.keyboard.type("asya_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This API key is not valid.")
    page.keyboard.type(keys["stranger"])
    page.keyboard.press("Enter")
    heading(page, "Envelopes")
    [cookie] = page.context.cookies()
    told = {key: cookie[key] for key in ("httpOnly", "secure", "sameSite", "path")}  # type: ignore[literal-required]
    assert told == {"httpOnly": True, "secure": True, "sameSite": "Strict", "path": "/"}
    assert 0 < cookie["expires"] - time.time() <= 43_200
    assert page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"
    page.get_by_role("button", name="Sign out").click()
    heading(page, "Sign in")
    assert page.context.cookies() == []
    page.get_by_label("API key").fill(keys["stranger"])
    page.get_by_role("button", name="Sign in").click()
    heading(page, "Envelopes")


def test_end_of_a_session_leads_back_to_sign_in_and_then_to_the_same_view(opened: Open, keys: dict[str, str]) -> None:
    page = opened("#/flows", who="stranger", expected=("401",))
    heading(page, "Flows")
    page.context.clear_cookies()
    page.evaluate("location.hash = '#/envelopes?status=failed'")
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    page.get_by_label("API key").fill(keys["stranger"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Failed")).to_be_checked()  # and the page is signed in for the tests that come


# --------------------------------------------------------------------------------------------------------------------------- list


def test_list_is_filtered_by_status_tool_and_text_and_the_address_holds_it(opened: Open, mesh: Any) -> None:
    good = mesh.call("text-processor")
    mesh.final(good, result=1)
    bad = mesh.call("two-hops")
    mesh.fail(bad, message="no such customer", actor="second")
    page = opened(f"#/envelopes?text={bad[:20].lower()}")
    expect(rows(page).first).to_be_visible()
    page.get_by_text("Failed", exact=True).click()
    page.get_by_label("Tool").select_option("two-hops")
    page.get_by_label("Search").fill("CUSTOMER")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(bad)
    expect(page.get_by_label("Search")).to_be_focused()
    expect(page).to_have_url(f"{page.url.partition('#')[0]}#/envelopes?status=failed&tool=two-hops&text=CUSTOMER")
    address = page.url
    page.goto("/#/nothing")
    page.goto(address)
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Tool")).to_have_value("two-hops")
    page.get_by_label("Search").fill("nothing has this")
    page.get_by_role("button", name="Clear all filters").click()
    expect(rows(page).filter(has_text=good)).to_have_count(1)


def test_new_envelopes_wait_behind_a_button_and_shown_ones_change_in_place(opened: Open, mesh_of: Callable[[str], Any]) -> None:
    mesh = mesh_of("stranger")
    page = opened("#/envelopes?tool=two-hops", who="stranger")
    page.get_by_text("No envelope matches").wait_for()
    first = mesh.call("two-hops")
    expect(rows(page)).to_have_count(1)  # an empty list shows it by itself
    second = mesh.call("two-hops")
    mesh.final(first, result=1)
    expect(rows(page).filter(has_text=first)).to_contain_text("succeeded")
    button = page.get_by_role("button", name="1 new")
    expect(button).to_be_visible()
    expect(rows(page)).to_have_count(1)
    button.click()
    expect(rows(page).first).to_contain_text(second)
    expect(rows(page).first.get_by_role("link")).to_be_focused()
    expect(button).to_have_count(0)


@pytest.mark.behaviour("page:many")
def test_ten_thousand_envelopes_are_paged_and_searched(opened: Open) -> None:
    page = opened("#/envelopes?tool=nightly-import", who="operator")
    expect(rows(page)).to_have_count(50)
    expect(rows(page).first).to_contain_text("bulk-09999")
    page.get_by_role("link", name="Older").click()
    expect(rows(page).first).to_contain_text("bulk-09949")
    expect(rows(page)).to_have_count(50)
    page.get_by_role("link", name="Newest").click()
    expect(rows(page).first).to_contain_text("bulk-09999")
    page.get_by_label("Search").fill("row 50")
    expect(rows(page).last).to_contain_text("bulk-00050")
    assert rows(page).locator("a").all_text_contents() == ["bulk-05050", "bulk-05000", "bulk-00500", "bulk-00050"]


# ------------------------------------------------------------------------------------------------------------------- one envelope


@pytest.mark.behaviour("page:live")
def test_envelope_moves_as_it_is_reported_and_its_timeline_has_queue_and_handler_times(opened: Open, mesh: Any) -> None:
    envelope_id = mesh.call("two-hops", {"big": 1})
    page = opened(f"#/envelopes/{envelope_id}")
    expect(page.get_by_text("waits in its first queue")).to_be_visible()
    route = ["text-processor", "second"]
    begin = time.time()
    end = mesh.hop(envelope_id, route, 0, queue=0.25, handler=1.5, begin=begin)
    mesh.hop(envelope_id, route, 1, queue=0.75, handler=0, begin=end, state="running")
    hops = page.get_by_role("region", name="Timeline").get_by_role("row")
    expect(hops.nth(1)).to_contain_text("1.50 s")
    expect(hops.nth(2)).to_contain_text("750 ms")
    expect(hops.nth(2)).to_contain_text("handler runs")
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    page.get_by_role("region", name="Timeline").focus()
    mesh.final(envelope_id, result={"exact": 1})
    expect(page.get_by_role("region", name="Result", exact=True).first).to_contain_text('"exact": 1')
    expect(page.locator(".summary").get_by_text("succeeded", exact=True)).to_be_visible()
    expect(page.locator("#live")).to_have_text("The envelope is succeeded")
    expect(page.get_by_role("region", name="Timeline")).to_be_focused()  # what moves takes nothing away
    mesh.hop(envelope_id, route, 1, queue=0.75, handler=2.5, begin=end)  # a sidecar's batch comes after the end
    expect(hops.nth(2)).to_contain_text("2.50 s")


HOPS = """
async (given) => {
  const { hopsOf } = await import("/static/timeline.js");
  const stamp = (ms) => new Date(ms).toISOString();
  const stamps = (told) => told && Object.fromEntries(Object.entries(told).map(([state, ms]) => [state, stamp(ms)]));
  const events = given.map(([hop, attempt, state, told]) => {
    return { kind: "progress", actor: `a${hop}`, hop, attempt, state, at: stamp(9000), times: stamps(told) ?? undefined };
  });
  const hops = hopsOf({ route: ["a0:step", "a1"], created_at: stamp(1000) }, [{ kind: "status", at: stamp(0) }, ...events]);
  return hops.map(({ entry, attempt, state, sent, began, ended }) => [entry, attempt, state, sent, began, ended]);
}
"""


@pytest.mark.parametrize(
    ("reports", "hops"),
    [
        pytest.param(
            [(1, 1, "done", {"received": 1500, "running": 1600, "done": 1700}), (0, 1, "done", {"running": 1100, "done": 1400})],
            [["a0:step", 1, "done", 1000, 1100, 1400], ["a1", 1, "done", 1400, 1600, 1700]],
            id="batches in another order",
        ),
        pytest.param(
            [(0, 1, "retrying", {"running": 1100, "retrying": 1200}), (0, 2, "running", {"received": 1500, "running": 1501})],
            [["a0:step", 1, "retrying", 1000, 1100, 1200], ["a0:step", 2, "running", 1200, 1501, None]],
            id="an attempt waits from the one before",
        ),
        pytest.param(
            [(0, 1, "running", {"running": 1100}), (0, 1, "done", {"done": 1300}), (0, 1, "received", {"received": 1050})],
            [["a0:step", 1, "done", 1000, 1100, 1300]],
            id="one hop told in three",
        ),
        pytest.param([(1, 1, "done", {"done": 1700})], [["a1", 1, "done", None, None, 1700]], id="lost reports leave gaps, not guesses"),
        pytest.param([(0, 1, "done", None)], [["a0:step", 1, "done", 1000, None, 9000]], id="a sidecar without times"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_hops_are_read_from_events(opened: Open, reports: Any, hops: Any) -> None:
    assert opened("#/nothing").evaluate(HOPS, reports) == hops


def test_numbers_are_shown_as_they_were_written(opened: Open, mesh: Any) -> None:
    envelope_id = mesh.call("text-processor")
    body = f'{{"id": "{envelope_id}", "status": "succeeded", "result": [18446744073709551617, 1.0, 0.1, 1e400, -0.0]}}'
    answer = mesh.gateway.mesh.post("/internal/v1/final", content=body)
    assert answer.status_code == 200
    page = opened(f"#/envelopes/{envelope_id}")
    shown = page.get_by_role("region", name="Result", exact=True).last
    expect(shown).to_contain_text("18446744073709551617")
    expect(shown).to_contain_text("1e400")


@pytest.mark.behaviour("page:live")
def test_stream_that_is_cut_is_taken_up_again_and_nothing_is_missed(opened: Open, mesh: Any, proxy: Any) -> None:
    envelope_id = mesh.call("two-hops")
    page = opened(f"#/envelopes/{envelope_id}", expected=("ERR_", "Failed to load resource"))
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    proxy.cut()
    expect(page.get_by_text("Reconnecting …")).to_be_visible()
    mesh.hop(envelope_id, ["text-processor", "second"], 0, queue=0.1, handler=0.3, begin=time.time())
    mesh.final(envelope_id, result="came while away")
    proxy.mend()
    expect(page.get_by_text('"came while away"')).to_be_visible()
    expect(page.get_by_text("Ended", exact=True)).to_be_visible()
    expect(page.get_by_text("4 events", exact=True).or_(page.get_by_text("3 events", exact=True))).to_be_visible()


@pytest.mark.behaviour("page:traceback")
def test_traceback_is_shown_to_operators_only(opened: Open, mesh: Any) -> None:
    envelope_id = mesh.call("two-hops")
    record = {"payload": {"row": 3}, "error": {"traceback": "Traceback: line 7 of secret_file.py"}}
    mesh.fail(envelope_id, record, message="row is bad", actor="second")
    page = opened(f"#/envelopes/{envelope_id}", who="operator")
    expect(page.get_by_role("heading", name="ValueError")).to_be_visible()
    page.get_by_role("button", name="Show traceback").click()
    expect(page.get_by_text("line 7 of secret_file.py")).to_be_visible()
    expect(page.get_by_role("region", name="Payload when it failed")).to_contain_text('"row": 3')
    page = opened(f"#/envelopes/{envelope_id}", who="caller")
    expect(page.get_by_text("it needs role operate")).to_be_visible()
    expect(page.get_by_role("button", name="Show traceback")).to_have_count(0)
    assert "secret_file" not in page.content()


def test_envelope_of_somebody_else_looks_like_one_that_is_not_there(opened: Open, mesh: Any) -> None:
    texts = []
    for envelope_id in (mesh.call("text-processor"), "01J00000000000000000000000"):
        page = opened(f"#/envelopes/{envelope_id}", who="stranger", expected=("404",))
        expect(page.get_by_role("heading", name="There is no such envelope")).to_be_visible()
        texts.append(page.get_by_role("main").inner_text().replace(envelope_id, ""))
    assert texts[0] == texts[1]


@pytest.mark.behaviour("page:hostile-values")
def test_markup_in_values_stays_text(opened: Open, mesh: Any) -> None:
    failed = mesh.call("two-hops", {HOSTILE: HOSTILE})
    mesh.fail(failed, {"payload": HOSTILE, "error": {"traceback": HOSTILE}}, message=HOSTILE, type=HOSTILE, actor="second")
    page = opened(f"#/envelopes/{failed}", who="operator")
    page.get_by_role("button", name="Show traceback").click()
    expect(page.get_by_role("region", name="Traceback")).to_contain_text(HOSTILE)
    expect(page.get_by_role("region", name="Arguments", exact=True).last).to_contain_text("window.hit = 1")
    good = mesh.call("text-processor")
    mesh.final(good, result=[HOSTILE])
    page.goto(f"/#/envelopes/{good}")
    expect(page.get_by_role("region", name="Result", exact=True).last).to_contain_text("window.hit = 1")
    page.goto("/#/envelopes?status=failed&tool=two-hops")
    expect(rows(page).filter(has_text=failed)).to_contain_text("<script>")
    page.goto(f"/#/envelopes?actor={HOSTILE}")
    expect(page.get_by_role("list", name="More filters")).to_contain_text("<script>")
    assert page.evaluate("window.hit") is None
    assert page.locator("main script, main img").count() == 0


# ------------------------------------------------------------------------------------------------------------------- doing, by keys


@pytest.mark.behaviour("page:replay")
def test_replay_asks_first_and_the_key_at_hand_does_nothing(opened: Open, mesh: Any) -> None:
    envelope_id = mesh.call("two-hops", {"n": 1})
    record = {"payload": {"n": 2}, "route": {"actors": ["text-processor", "second"], "current": 1}, "error": {}}
    mesh.fail(envelope_id, record, message="no", actor="second")
    page = opened(f"#/envelopes/{envelope_id}", who="operator")
    button = page.get_by_role("button", name="Replay …")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Replay this envelope?")
    expect(dialog).to_contain_text("beginning with second")
    expect(dialog.get_by_role("button", name="Go back")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_label("at the start").check()
    expect(dialog).to_contain_text("beginning with text-processor: 2 hops")
    dialog.get_by_role("button", name="Replay", exact=True).press("Enter")
    expect(page.get_by_text("Replay of")).to_be_visible()
    assert envelope_id not in page.url
    expect(page.get_by_role("link", name=envelope_id)).to_be_visible()


@pytest.mark.behaviour("page:replay")
def test_cancel_asks_first_and_ends_the_envelope(opened: Open, mesh: Any) -> None:
    page = opened(f"#/envelopes/{mesh.call('text-processor')}")
    page.get_by_role("button", name="Cancel …").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Cancel …").click()
    page.get_by_role("button", name="Cancel the envelope").click()
    expect(page.locator(".summary").get_by_text("cancelled", exact=True)).to_be_visible()


@pytest.mark.behaviour("page:accessible")
def test_everything_is_reached_by_tab_in_the_order_of_reading(opened: Open, mesh: Any) -> None:
    envelope_id = mesh.call("text-processor")
    page = opened("#/envelopes?tool=text-processor&status=pending")
    expect(rows(page).first).to_be_visible()
    page.locator("#skip").focus()
    seen = ["skip"]
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(document.activeElement.id || document.activeElement.textContent).trim().slice(0, 40)"))
        if envelope_id in seen:
            break
    assert seen[:8] == ["skip", "Asya", "Envelopes", "Flows", "Sign out", "status-pending", "tool", "within"], seen
    page.keyboard.press("Enter")
    heading(page, envelope_id)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    heading(page, "Envelopes")


# -------------------------------------------------------------------------------------------------------------------------- flows


@pytest.mark.behaviour("page:flows")
def test_flow_is_drawn_and_told_with_what_its_actors_have(opened: Open, mesh: Any, eventually: Any) -> None:
    page = opened("#/flows/ml_pipeline_flow")
    node = page.get_by_role("button", name="Handler validate_input")
    expect(node).to_be_visible()
    assert page.locator(".graph .node").count() == 14
    assert page.locator(".graph .edge").count() == 16
    assert page.locator(".graph .edge text").all_text_contents() == ["true", "false"] * 3
    node.focus()
    page.keyboard.press("Enter")
    expect(node).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".details")).to_contain_text("ml_pipeline_flow.validate_input")
    envelope_id = mesh.call("ml_pipeline_flow", {"model_type": "fast"})
    mesh.hop(envelope_id, ["start-ml-pipeline-flow", "validate-input"], 1, queue=0, handler=0, begin=time.time(), state="running")
    expect(page.get_by_role("button", name="Handler validate_input 1 running")).to_be_focused()
    listed = page.get_by_role("row", name="validate_input validate-input")
    expect(listed.get_by_role("cell").nth(2)).to_have_text("1")
    page.locator(".details").get_by_role("link", name="1 envelope").click()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("list", name="More filters")).to_contain_text("actor: validate-input")
    rows(page).get_by_role("link").click()
    expect(page.get_by_role("img", name="ml_pipeline_flow: 1 of 14 steps reached")).to_be_visible()
    assert page.locator(".node.running").count() == 1


def test_loop_of_a_flow_is_drawn_upright(opened: Open) -> None:
    page = opened("#/flows/retrieval_flow")
    loop = page.get_by_role("button", name="Router while len(p['found']) < 2")
    expect(loop).to_be_visible()
    inside = page.get_by_role("button", name="Handler search")
    above, below = loop.bounding_box(), inside.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] < below["y"]
    assert page.locator(".edge.back").count() == 2


# ------------------------------------------------------------------------------------------------------- for everybody, everywhere


@pytest.mark.behaviour("page:accessible")
def test_every_view_is_clean_for_axe_light_and_dark_and_fits_wide_and_narrow_screens(opened: Open, mesh: Any, axe: str) -> None:
    running, failed = mesh.call("ml_pipeline_flow", {"a": [1, True, "x"]}), mesh.call("two-hops")
    mesh.hop(running, ["start-ml-pipeline-flow"], 0, queue=0, handler=0.1, begin=time.time())
    mesh.fail(failed, {"payload": 1, "error": {"traceback": "Traceback"}}, message="m", actor="second")
    problems: list[str] = []

    def check(page: Page, view: str) -> None:
        problems.extend(f"{view}, {each}" for each in faults(page, axe))

    page = opened("#/envelopes?tool=two-hops", who="operator")
    expect(rows(page).first).to_be_visible()
    check(page, "envelopes")
    page.goto("/#/envelopes?status=failed&text=nothing")
    page.get_by_text("No envelope matches").wait_for()
    check(page, "no envelope")
    page.goto(f"/#/envelopes/{running}")
    expect(page.get_by_role("img", name="ml_pipeline_flow")).to_be_visible()
    check(page, "running envelope")
    page.get_by_role("button", name="Cancel …").click()
    check(page, "dialog")
    page.keyboard.press("Escape")
    page.goto(f"/#/envelopes/{failed}")
    page.get_by_role("button", name="Show traceback").click()
    expect(page.get_by_role("region", name="Traceback")).to_be_visible()
    check(page, "failed envelope")
    page.goto("/#/flows")
    page.get_by_role("button", name="Handler validate_input").click()
    check(page, "flows")
    assert problems == []


def test_refused_tools_file_is_told_above_every_view(opened: Open, gateway: Any, eventually: Any) -> None:
    file = gateway.folder / "tools" / "broken.yaml"
    file.write_text("tools: {bad: {}}\n")

    def has_problem() -> bool:
        answer = gateway.client.get("/tools", headers={"Authorization": f"Bearer asya_caller-{'k' * 38}"})
        return "problem" in answer.json()

    try:
        eventually(has_problem)
        page = opened("#/flows")
        expect(page.get_by_role("alert")).to_contain_text("broken.yaml")
    finally:
        file.unlink()
    eventually(lambda: not has_problem())
