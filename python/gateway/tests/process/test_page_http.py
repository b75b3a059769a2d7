"""What the page stands on, without a browser: its files, sign-in and cookie, requests from elsewhere, the description of the API."""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.requests import Request

from asya_core.ops.logs import Level, LineWriter, Log
from asya_gateway.access import Principal, Role
from asya_gateway.http.errors import STATUS
from asya_gateway.http.login import COOKIE, Login
from asya_gateway.http.metadata import Metadata
from asya_gateway.http.openapi import OPERATIONS, document
from asya_gateway.http.page import Page
from asya_gateway.http.rest import _FILTERS, Rest
from asya_gateway.web import read_assets

Gateway = Any
WEB = Path(__file__).parents[2] / "asya_gateway" / "web"
TOKENS = {name: f"asya_page-canary-{name}-{'x' * 20}" for name in ("caller", "stranger", "operator")}
ROLES = {"caller": "call", "stranger": "call", "operator": "operate"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("page")
    keys = {name: {"sha256": [hashlib.sha256(token.encode()).hexdigest()], "roles": [ROLES[name]]} for name, token in TOKENS.items()}
    (folder / "keys.yaml").write_text(json.dumps(keys))
    made = gateway_of(
        folder / "state",
        ASYA_GATEWAY_AUTH="apiKey",
        ASYA_GATEWAY_KEYS_FILE=str(folder / "keys.yaml"),
        ASYA_GATEWAY_RESULTS_URL=f"file://{folder}",
    ).start()
    yield made
    made.stop()


def sign_in(gateway: Gateway, who: str) -> dict[str, str]:
    """Headers of the page's own requests."""
    answer = gateway.client.post("/login", json={"key": TOKENS[who]}, headers={"Origin": gateway.public})
    assert answer.status_code == 200, answer.text
    gateway.client.cookies.clear()
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def own(gateway: Gateway, who: str) -> dict[str, str]:
    return sign_in(gateway, who) | {"Origin": gateway.public, "Sec-Fetch-Site": "same-origin"}


# -------------------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/static/style.css", "/static/icon.svg", "/static/vendor/dagre.esm.js"])
def test_files_need_no_key_are_compressed_and_asked_for_once(guarded: Gateway, path: str) -> None:
    answer = guarded.client.get(path)
    assert (answer.status_code, answer.headers["content-encoding"], answer.headers["cache-control"]) == (200, "gzip", "no-cache")
    name = path.removeprefix("/static/") if path != "/" else "index.html"
    assert answer.content == (WEB / name).read_bytes()
    assert guarded.client.get(path, headers={"Accept-Encoding": "identity"}).content == answer.content
    again = guarded.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["__init__.py", "%2e%2e/app.py", "vendor", "", "vendor/README.md", "/etc/passwd"])
def test_nothing_else_is_served(guarded: Gateway, path: str) -> None:
    assert guarded.client.get(f"/static/{path}").status_code == 404


def test_policy_lets_the_page_run_its_own_files_alone(guarded: Gateway) -> None:
    headers = guarded.client.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"


def test_page_names_no_other_host_and_holds_no_inline_script_or_style() -> None:
    ours = {path: asset.body.decode() for path, asset in read_assets().items() if not path.startswith("vendor/")}
    hosts = {host for text in ours.values() for host in re.findall(r"(?:https?:)?//([a-z0-9.-]+\.[a-z]+)", text)}
    assert hosts <= {"www.w3.org"}  # the name of SVG
    for text in (text for path, text in ours.items() if path.endswith((".html", ".svg"))):
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)", text) == []


def test_vendored_files_are_those_that_their_table_names() -> None:
    table = (WEB / "vendor" / "README.md").read_text()
    for file in (WEB / "vendor").glob("*.js"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in table
    assert (WEB / "vendor" / "dagre.LICENSE.txt").is_file()


# ------------------------------------------------------------------------------------------------------------------------ sign-in


def test_cookie_is_for_this_host_https_and_no_script(guarded: Gateway) -> None:
    answer = guarded.client.post("/login", json={"key": f" {TOKENS['caller']}\n"})
    told = answer.headers["set-cookie"].split("; ")
    assert told[0].startswith(f"{COOKIE}=")
    assert told[1:] == ["Path=/", "Max-Age=43200", "Secure", "HttpOnly", "SameSite=Strict"]
    assert answer.json() == {"auth": "apiKey", "principal": {"name": "caller", "roles": ["call"]}, "namespace": "test", "records": True}
    assert TOKENS["caller"] not in answer.text + answer.headers["set-cookie"]
    guarded.client.cookies.clear()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"key": "wrong"}, 401, "unauthenticated"),
        ({"key": ""}, 401, "unauthenticated"),
        ({"key": "x" * 2_901}, 400, "bad_request"),
        ({"key": 3}, 400, "bad_request"),
        ({"key": "x", "more": 1}, 400, "bad_request"),
        ([], 400, "bad_request"),
        (None, 400, "bad_request"),
    ],
)
def test_refused_sign_in_sets_no_cookie(guarded: Gateway, body: Any, status: int, code: str) -> None:
    answer = guarded.client.post("/login", **({} if body is None else {"json": body}))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "set-cookie" not in answer.headers


def test_cookie_reaches_what_the_key_reaches_until_the_key_is_gone(guarded: Gateway, make_gateway: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    digest = hashlib.sha256(TOKENS["caller"].encode()).hexdigest()
    keys.write_text(json.dumps({"caller": {"sha256": [digest], "roles": ["call"]}}))
    mine = make_gateway(ASYA_GATEWAY_AUTH="apiKey", ASYA_GATEWAY_KEYS_FILE=str(keys)).start()
    cookie = sign_in(mine, "caller")
    assert mine.client.get("/envelopes", headers=cookie).status_code == 200
    assert mine.client.get("/login", headers=cookie).json()["principal"]["name"] == "caller"
    keys.write_text("{}")
    assert mine.client.get("/envelopes", headers=cookie).status_code == 401
    assert mine.client.get("/login", headers=cookie).json() == {"auth": "apiKey"}


@pytest.mark.parametrize("value", ["", "%%%", "=", "x" * 5_000, "4pyT", "_w"])
def test_cookie_that_was_not_set_here_is_nobody(guarded: Gateway, value: str) -> None:
    headers = {"Cookie": f"a=b; {COOKIE}={value}"}
    assert guarded.client.get("/envelopes", headers=headers).status_code == 401
    assert guarded.client.get("/login", headers=headers).json() == {"auth": "apiKey"}


def test_header_goes_before_the_cookie(guarded: Gateway) -> None:
    headers = sign_in(guarded, "caller") | {"Authorization": f"Bearer {TOKENS['stranger']}"}
    assert guarded.client.get("/login", headers=headers).json()["principal"]["name"] == "stranger"


def test_sign_out_takes_the_cookie_back(guarded: Gateway) -> None:
    answer = guarded.client.delete("/login", headers=own(guarded, "caller"))
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Path=/; Max-Age=0;")


def test_sign_ins_are_audited_without_the_key(guarded: Gateway) -> None:
    sign_in(guarded, "operator")
    guarded.client.post("/login", json={"key": "wrong-canary"})
    line = guarded.until(lambda line: line.get("action") == "sign-in" and line["outcome"] == "unauthenticated")
    assert line["principal"] == "-"
    assert guarded.until(lambda line: line.get("action") == "sign-in" and line["principal"] == "operator")["outcome"] == "accepted"
    logged = json.dumps(guarded.lines)
    assert "page-canary" not in logged
    assert "wrong-canary" not in logged


class OneToken:
    """Knows one token, which ends."""

    def __init__(self, expires_at: float) -> None:
        self._expires_at = expires_at

    async def principal(self, token: str | None) -> Principal:
        return Principal(name="subject", roles=frozenset({Role.READ}), expires_at=self._expires_at)


@pytest.mark.parametrize(("left", "kept"), [(600.0, 600), (86_400.0, 43_200), (0.2, 1)])
def test_cookie_ends_with_its_token(left: float, kept: int) -> None:
    log = Log(LineWriter(), Level.ERROR)
    login = Login(OneToken(1_000.0 + left), kind="oauth", namespace="n", has_records=False, log=log, wall=lambda: 1_000.0)
    scope = {"type": "http", "method": "POST", "headers": [], "asya.json": {"key": "a.b.c"}}
    answer = asyncio.run(login.sign_in(Request(scope)))
    assert f"; Max-Age={kept}; " in answer.headers["set-cookie"]


@pytest.mark.parametrize("kind", ["none"])
def test_gateway_that_asks_for_nothing_signs_everybody_in(gateway: Gateway, kind: str) -> None:
    told = gateway.client.get("/login").json()
    assert (told["auth"], told["principal"]) == (kind, {"name": "anonymous", "roles": ["call", "read", "operate"]})
    assert "set-cookie" not in gateway.client.post("/login", json={"key": "x"}).headers


# ------------------------------------------------------------------------------------------------------- requests from elsewhere


def elsewhere(gateway: Gateway) -> list[dict[str, str]]:
    port = int(gateway.public.rpartition(":")[2])
    return [
        {},  # no browser leaves Origin out
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},  # the same site, to a browser
        {"Origin": f"http://localhost:{port}"},
        {"Origin": "https://evil.example"},
        {"Origin": f"{gateway.public}.evil.example"},
        {"Origin": gateway.public, "Sec-Fetch-Site": "same-site"},
        {"Origin": gateway.public, "Sec-Fetch-Site": "cross-site"},
    ]


@pytest.mark.behaviour("page:sign-in")
@pytest.mark.parametrize("number", range(9))
def test_cookie_changes_nothing_from_another_page(guarded: Gateway, number: int) -> None:
    mine = own(guarded, "caller")
    made = guarded.client.post("/tools/text-processor", json={"text": "x"}, headers=mine).json()["id"]
    headers = sign_in(guarded, "caller") | elsewhere(guarded)[number]
    for method, path, body in (
        ("POST", f"/envelopes/{made}/cancel", None),
        ("POST", f"/envelopes/{made}/replay", {}),
        ("POST", "/tools/text-processor", {"text": "x"}),
        ("POST", "/mcp", {}),
        ("DELETE", "/login", None),
    ):
        answer = guarded.client.request(method, path, headers=headers, **({} if body is None else {"json": body}))
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin"), (method, path)
    assert guarded.client.get(f"/envelopes/{made}", headers=mine).json()["status"] == "pending"


def test_cookie_reads_nothing_for_another_site(guarded: Gateway) -> None:
    headers = sign_in(guarded, "caller") | {"Sec-Fetch-Site": "cross-site"}
    assert guarded.client.get("/envelopes", headers=headers).status_code == 403


def test_key_as_a_header_needs_no_origin(guarded: Gateway) -> None:
    headers = {"Authorization": f"Bearer {TOKENS['caller']}"}
    assert guarded.client.post("/tools/text-processor", json={"text": "x"}, headers=headers).status_code == 202


def test_cookie_sees_its_owner_s_envelopes_alone(guarded: Gateway) -> None:
    made = guarded.client.post("/tools/text-processor", json={"text": "x"}, headers=own(guarded, "caller")).json()["id"]
    for rest in ("", "/arguments", "/events", "/stream"):
        foreign = guarded.client.get(f"/envelopes/{made}{rest}", headers=own(guarded, "stranger"))
        absent = guarded.client.get(f"/envelopes/01J0ABSENT{rest}", headers=own(guarded, "stranger"))
        assert (foreign.status_code, foreign.content) == (404, absent.content)
    assert guarded.client.get(f"/envelopes/{made}/record", headers=own(guarded, "caller")).status_code == 403
    assert guarded.client.get(f"/envelopes/{made}/arguments", headers=own(guarded, "caller")).json() == {"arguments": {"text": "x"}}


# ------------------------------------------------------------------------------------------------------------------- list filters


def test_search_and_brief_lists(gateway: Gateway) -> None:
    made = gateway.envelope()
    gateway.final(made, "failed", error={"code": "handler_error", "message": "Kaputt 100%", "type": "ValueError"})
    good = gateway.envelope()
    gateway.final(good, result={"large": 1})

    def listed(**query: Any) -> list[str]:
        return [each["id"] for each in gateway.client.get("/envelopes", params=query).json()["envelopes"]]

    assert listed(text="kaputt 100%") == [made]
    assert listed(text=made[4:].lower()) == [made]
    assert listed(text="1__%") == []
    [brief] = [each for each in gateway.client.get("/envelopes", params={"brief": "true"}).json()["envelopes"] if each["id"] == good]
    assert "result" not in brief
    for wrong in ({"text": ""}, {"text": "x" * 201}, {"brief": "yes"}):
        assert gateway.client.get("/envelopes", params=wrong).json()["code"] == "bad_request"


# --------------------------------------------------------------------------------------------------------------- description


def test_description_has_exactly_the_routes() -> None:
    nothing: Any = None
    routes = [
        *Rest(nothing, nothing).routes(),
        *Login(nothing, kind="none", namespace="n", has_records=False, log=nothing).routes(),
        *Page().routes(),
        *Metadata(None, None).routes(),
    ]
    files = {"/", "/favicon.ico", "/static/{path:path}", "/.well-known/oauth-protected-resource/mcp"}
    served = {(method, route.path) for route in routes for method in route.methods - {"HEAD"} if route.path not in files}  # type: ignore[attr-defined]
    assert served == set(OPERATIONS)


def test_description_knows_the_filters_and_real_codes() -> None:
    assert tuple(OPERATIONS["GET", "/envelopes"].query) == _FILTERS
    known = {*STATUS, "store", "outbox_full"}
    assert {code for operation in OPERATIONS.values() for code in operation.codes} <= known


def test_description_is_whole() -> None:
    told = document()
    assert told["openapi"] == "3.1.0"
    names = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    for path, methods in told["paths"].items():
        for one in methods.values():
            places = {each["name"] for each in one["parameters"] if each["in"] == "path"}
            assert places == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def checked(told: dict[str, Any], method: str, path: str, answer: httpx.Response) -> None:
    """Raise unless the description foresees `answer`."""
    responses = told["paths"][path][method.lower()]["responses"]
    described = responses[str(answer.status_code)]
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if "content" not in described:
        assert answer.content == b""
        return
    schema = described["content"][media_type]["schema"]
    if media_type.endswith("json"):
        validator = jsonschema.Draft202012Validator({**schema, "components": told["components"]})
        problems = [f"{method} {path} {'/'.join(map(str, each.path))}: {each.message}" for each in validator.iter_errors(answer.json())]
        assert problems == []
    if answer.status_code >= 400:
        assert f"`{answer.json()['code']}`" in described["description"], answer.json()


@pytest.mark.behaviour("gateway:openapi")
def test_real_answers_are_as_described(guarded: Gateway) -> None:
    told = guarded.client.get("/openapi.json").json()
    key = {"Authorization": f"Bearer {TOKENS['operator']}"}
    made = guarded.client.post("/tools/two-hops", json={}, headers=key).json()["id"]
    guarded.progress({"id": made, "state": "done", "at": "2026-01-01T00:00:00Z", "route": ["text-processor", "second"]})
    guarded.final(made, "failed", error={"code": "handler_error", "type": None, "mro": [], "message": "m", "actor": "second", "attempt": 1})
    parent = guarded.client.post("/tools/two-hops", json={}, headers=key).json()["id"]
    guarded.final(f"{parent}.0.0", result=[1], parent_id=parent, fanout=[1])
    open_one = guarded.client.post("/tools/two-hops", json={}, headers=key).json()["id"]
    for method, path, place, body in (
        ("GET", "/tools", "", None),
        ("GET", "/tools/{name}", "two-hops", None),
        ("GET", "/tools/{name}", "absent", None),
        ("POST", "/tools/{name}", "two-hops", {}),
        ("POST", "/tools/{name}", "text-processor", {"text": 1}),
        ("POST", "/tools/{name}", "absent", {}),
        ("GET", "/envelopes", "?limit=200", None),
        ("GET", "/envelopes", "?limit=0", None),
        ("GET", "/envelopes/{id}", made, None),
        ("GET", "/envelopes/{id}", parent, None),
        ("GET", "/envelopes/{id}", "absent", None),
        ("GET", "/envelopes/{id}/arguments", made, None),
        ("GET", "/envelopes/{id}/events", made, None),
        ("GET", "/envelopes/{id}/stream", made, None),
        ("GET", "/envelopes/{id}/record", made, None),
        ("POST", "/envelopes/{id}/cancel", made, None),
        ("POST", "/envelopes/{id}/replay", open_one, {}),
        ("POST", "/envelopes/{id}/replay", made, {"from": "start", "dry_run": True}),
        ("POST", "/envelopes/{id}/replay", made, {"from": "start"}),
        ("POST", "/envelopes/{id}/replay", made, {"from": "start", "if_replayed_as": None}),
        ("GET", "/actors", "", None),
        ("GET", "/flows", "", None),
        ("GET", "/flows/{name}", "text_flow", None),
        ("GET", "/flows/{name}", "absent", None),
        ("GET", "/login", "", None),
        ("POST", "/login", "", {"key": TOKENS["caller"]}),
        ("POST", "/login", "", {"key": "wrong"}),
        ("DELETE", "/login", "", None),
        ("GET", "/openapi.json", "", None),
        ("GET", "/.well-known/oauth-protected-resource", "", None),
    ):
        address = f"{path}{place}" if place.startswith("?") else path.replace("{id}", place).replace("{name}", place)
        answer = guarded.client.request(method, address, headers=key, **({} if body is None else {"json": body}))
        checked(told, method, path, answer)
        guarded.client.cookies.clear()
    checked(told, "GET", "/envelopes", guarded.client.get("/envelopes"))
