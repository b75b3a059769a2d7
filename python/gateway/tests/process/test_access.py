"""Who may do what: API keys, forged tokens, every principal against every endpoint; the internal credential; nothing secret in logs."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from asya_gateway.http.rest import Rest

Gateway = Any
TOKENS = {name: f"asya_canary-{name}-{'x' * 20}" for name in ("caller", "stranger", "reader", "operator", "limited")}
ROLES = {"caller": ["call"], "stranger": ["call"], "reader": ["read"], "operator": ["operate"], "limited": ["call"]}


def key_file(folder: Path) -> Path:
    entries = {
        name: {"sha256": [hashlib.sha256(token.encode()).hexdigest()], "roles": ROLES[name]}
        | ({"tools": ["text_flow"]} if name == "limited" else {})
        for name, token in TOKENS.items()
    }
    file = folder / "keys.yaml"
    file.write_text(json.dumps(entries))
    return file


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("guarded")
    made = gateway_of(
        folder / "state", ASYA_GATEWAY_AUTH="apiKey", ASYA_GATEWAY_KEYS_FILE=str(key_file(folder)), ASYA_LOG_LEVEL="debug"
    ).start()
    yield made
    made.stop()


def ask(gateway: Gateway, who: str | None, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKENS[who]}"} if who else {}
    return gateway.client.request(method, path, headers=headers | more.pop("headers", {}), **more)


def made_by(gateway: Gateway, who: str, tool: str = "text-processor") -> str:
    answer = ask(gateway, who, "POST", f"/tools/{tool}", json={"text": "payload-canary"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic YTpi", "bearer asya_canary-caller", "Bearer,x"])
def test_wrong_credential_is_401_with_a_challenge(guarded: Gateway, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ("/tools", "/envelopes", "/envelopes/x", "/flows"):
        answer = guarded.client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.client.post("/mcp", json={}, headers=headers).status_code == 401


# Who may do what to an envelope of `caller`: 200 done; 404 as if it were not there; 403 seen, but not for this role; 501 no storage.
# Cancelling comes last: the first who may ends it, and it stays so.
CELLS: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/envelopes/{id}"): {"caller": 200, "stranger": 404, "reader": 200, "operator": 200, "limited": 404},
    ("GET", "/envelopes/{id}/events"): {"caller": 200, "stranger": 404, "reader": 200, "operator": 200, "limited": 404},
    ("GET", "/envelopes/{id}/arguments"): {"caller": 200, "stranger": 404, "reader": 200, "operator": 200, "limited": 404},
    ("GET", "/envelopes/{id}/record"): {"caller": 403, "stranger": 404, "reader": 403, "operator": 501, "limited": 404},
    ("POST", "/envelopes/{id}/replay"): {"caller": 403, "stranger": 404, "reader": 403, "operator": 409, "limited": 404},
    ("POST", "/envelopes/{id}/cancel"): {"caller": 200, "stranger": 404, "reader": 404, "operator": 200, "limited": 404},
    ("GET", "/envelopes/{id}/stream"): {
        "caller": 200,
        "stranger": 404,
        "reader": 200,
        "operator": 200,
        "limited": 404,
    },  # ends: it was cancelled
}


@pytest.mark.behaviour("gateway:access")
@pytest.mark.parametrize(("method", "path"), CELLS)
def test_each_principal_reaches_exactly_its_cells(guarded: Gateway, method: str, path: str) -> None:
    owned = made_by(guarded, "caller")
    if path.endswith("/stream"):
        assert ask(guarded, "caller", "POST", f"/envelopes/{owned}/cancel").status_code == 200
    seen = {who: ask(guarded, who, method, path.format(id=owned)).status_code for who in TOKENS}
    assert seen == CELLS[method, path]
    foreign, missing = (ask(guarded, "stranger", method, path.format(id=each)) for each in (owned, "01JD2ABSENT"))
    assert foreign.content == missing.content
    assert ask(guarded, None, method, path.format(id=owned)).status_code == 401


def test_every_path_to_an_envelope_has_its_cells() -> None:
    routes = Rest.routes(Rest.__new__(Rest))
    paths = {(method, route.path) for route in routes if "{id}" in route.path for method in route.methods - {"HEAD"}}
    assert paths == set(CELLS)


@pytest.mark.behaviour("gateway:access")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_task_of_somebody_else_is_as_absent_as_none(guarded: Gateway, method: str) -> None:
    owned = made_by(guarded, "caller")

    def told(who: str, task: str) -> Any:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": task, "_meta": meta}}
        headers = {
            "MCP-Protocol-Version": "2026-07-28",
            "Accept": "application/json, text/event-stream",
            "Mcp-Method": method,
            "Mcp-Name": task,
        }
        return ask(guarded, who, "POST", "/mcp", json=body, headers=headers).json()

    foreign, missing = told("stranger", owned), told("stranger", "01JD2ABSENT")
    assert foreign == missing
    assert foreign["error"]["code"] == -32602
    assert "result" in told("caller", owned)
    assert ask(guarded, "caller", "GET", f"/envelopes/{owned}").json()["status"] == ("cancelled" if method == "tasks/cancel" else "pending")


@pytest.mark.behaviour("gateway:access")
def test_idempotency_key_of_one_caller_tells_another_nothing(guarded: Gateway) -> None:
    key = {"Idempotency-Key": "shared-1"}
    mine, theirs = (
        ask(guarded, who, "POST", "/tools/text-processor", json={"text": "x"}, headers=key).json()["id"] for who in ("caller", "stranger")
    )
    assert mine != theirs
    assert ask(guarded, "caller", "POST", "/tools/text-processor", json={"text": "x"}, headers=key).json()["id"] == mine


@pytest.mark.behaviour("gateway:access")
def test_children_and_counts_of_somebody_else_are_not_shown(guarded: Gateway) -> None:
    owned = made_by(guarded, "caller")
    guarded.final(f"{owned}.0.0", parent_id=owned, fanout=[2], result="x", actor="hers-alone")
    for who, seen in {"caller": 1, "stranger": 0, "reader": 1}.items():
        assert len(ask(guarded, who, "GET", "/envelopes", params={"parent": owned}).json()["envelopes"]) == seen
        actors = {each["name"] for each in ask(guarded, who, "GET", "/actors").json()["actors"]}
        assert ("hers-alone" in actors) == bool(seen)


def test_list_and_stream_show_ones_own_only(guarded: Gateway) -> None:
    mine, others = made_by(guarded, "caller"), made_by(guarded, "stranger")
    ids = [each["id"] for each in ask(guarded, "caller", "GET", "/envelopes", params={"limit": 200}).json()["envelopes"]]
    assert mine in ids
    assert others not in ids
    assert others in [each["id"] for each in ask(guarded, "reader", "GET", "/envelopes", params={"limit": 200}).json()["envelopes"]]
    assert ask(guarded, "caller", "GET", f"/envelopes/{others}/stream").status_code == 404


def test_tools_are_seen_and_called_by_those_who_may(guarded: Gateway) -> None:
    def names(who: str) -> set[str]:
        return {tool["name"] for tool in ask(guarded, who, "GET", "/tools").json()["tools"]}

    assert "operators-only" not in names("caller")
    assert "operators-only" in names("operator")
    assert names("limited") == {"text_flow"}
    assert ask(guarded, "caller", "POST", "/tools/operators-only", json={}).status_code == 404
    assert ask(guarded, "limited", "POST", "/tools/text-processor", json={"text": "x"}).status_code == 404


def test_mcp_sees_with_the_same_eyes(guarded: Gateway) -> None:
    owned = made_by(guarded, "stranger")

    async def work() -> Any:
        import httpx2

        async with (
            asyncio.timeout(60),
            httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TOKENS['caller']}"}) as http,
            Client(streamable_http_client(f"{guarded.public}/mcp", http_client=http)) as client,
        ):
            tools = {tool.name for tool in (await client.list_tools()).tools}
            answers = {
                (name, each): await client.call_tool(name, {"id": each})
                for name in ("asya_result", "asya_cancel")
                for each in (owned, "01JD2ABSENT")
            }
            with pytest.raises(MCPError) as refused:
                await client.session.call_tool("operators-only", {})
            return tools, answers, refused.value.code

    tools, answers, code = asyncio.run(work())
    assert "operators-only" not in tools
    assert code == -32602
    for answer in answers.values():
        assert answer.is_error
        assert "no such envelope" in answer.content[0].text
        assert answer.content == answers["asya_result", owned].content
    assert ask(guarded, "stranger", "GET", f"/envelopes/{owned}").json()["status"] == "pending"


def test_rotated_key_is_taken_and_the_old_one_refused_without_a_restart(guarded: Gateway) -> None:
    file = Path(guarded.environment["ASYA_GATEWAY_KEYS_FILE"])
    before = file.read_text()
    entries = json.loads(before)
    entries["stranger"]["sha256"] = [hashlib.sha256(b"asya_new").hexdigest()]
    file.write_text(json.dumps(entries))
    assert ask(guarded, "stranger", "GET", "/tools").status_code == 401
    assert guarded.client.get("/tools", headers={"Authorization": "Bearer asya_new"}).status_code == 200
    file.write_text(before)
    assert ask(guarded, "stranger", "GET", "/tools").status_code == 200


@pytest.mark.parametrize("token", [None, "", "wrong", "mesh-token2", "mesh-toke"])
def test_internal_socket_wants_its_own_credential(guarded: Gateway, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}" if token else ""} if token is not None else {}
    for path in ("/internal/v1/progress", "/internal/v1/final"):
        with httpx.Client(verify=False) as client:
            assert client.post(guarded.internal + path, json={}, headers=headers).status_code == 401


def test_caller_sets_neither_id_nor_route_nor_status_nor_headers(guarded: Gateway) -> None:
    hostile = {
        "id": "chosen",
        "route": {"actors": ["second"], "current": 0},
        "status": "succeeded",
        "asya_claim": {"key": "x"},
        "headers": {"asya-hops": 9},
        "text": "x",
    }
    headers = {"asya-hops": "9", "asya-flow": "{}", "traceparent": "not one", "x-other": "1"}
    view = ask(guarded, "caller", "POST", "/tools/two-hops", json=hostile, headers=headers).json()
    message = guarded.message(view["id"])
    assert message["payload"] == {"greeting": "hello", **hostile}
    assert message["headers"] == {"team": "blue"}
    assert (message["id"], message["route"]["actors"]) == (view["id"], ["text-processor", "second"])
    assert "asya_claim" not in message


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "wrong_host"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "wrong_host"),
        ({"Origin": "http://evil.example"}, 403, "wrong_origin"),
        ({"Origin": "null"}, 403, "wrong_origin"),
        ({"Origin": "http://localhost:1234"}, 200, ""),
    ],
)
def test_foreign_host_and_origin_are_refused(guarded: Gateway, headers: dict[str, str], status: int, code: str) -> None:
    answer = ask(guarded, "caller", "GET", "/tools", headers=headers)
    assert (answer.status_code, answer.json().get("code", "")) == (status, code)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.behaviour("gateway:secrets")
def test_log_holds_no_token_and_no_payload_and_tells_who_did_what(guarded: Gateway) -> None:
    envelope_id = made_by(guarded, "caller")
    ask(guarded, "caller", "POST", f"/envelopes/{envelope_id}/cancel")
    guarded.final(envelope_id, result={"result": "result-canary"})
    failed = made_by(guarded, "caller")
    error = {"code": "handler_error", "type": "E", "message": "m", "traceback": "traceback-canary"}
    guarded.mesh.post("/internal/v1/final", json={"id": failed, "status": "failed", "error": error})
    for headers in ({"Authorization": "Bearer wrong-canary"}, {"Authorization": "Basic wrong-canary"}, {"Cookie": "asya=wrong-canary"}):
        guarded.client.get("/tools?token=query-canary", headers=headers)
    guarded.client.post("/login", json={"key": "wrong-canary"})
    for body in (b'{"text": "payload-canary"', b'{"text": {"payload-canary": 1}}', b'["payload-canary"]'):
        kind = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        ask(guarded, "caller", "POST", "/tools/text-processor", content=body, headers=kind)
        ask(guarded, "caller", "POST", "/mcp", content=body, headers=kind)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow", "arguments": {"x": "payload-canary"}}}
    ask(guarded, "caller", "POST", "/mcp", json=call, headers={"Accept": "application/json, text/event-stream"})
    httpx.post(f"{guarded.internal}/internal/v1/final", json={}, headers={"Authorization": "Bearer wrong-canary"})
    guarded.until(lambda line: line.get("action") == "cancel" and line["envelope_id"] == envelope_id)
    text = json.dumps(guarded.lines)
    for secret in (*TOKENS.values(), "mesh-token", "payload-canary", "result-canary", "traceback-canary", "wrong-canary", "query-canary"):
        assert secret not in text, secret
    created = next(line for line in guarded.lines if line.get("action") == "create" and line["envelope_id"] == envelope_id)
    assert (created["principal"], created["tool"], created["outcome"]) == ("caller", "text-processor", "accepted")


# ------------------------------------------------------------------------------------------------------------------ OAuth

ISSUER, AUDIENCE = "https://issuer.example", "https://gateway.example/mcp"


class Issuer:
    """Keys of an issuer, and its JWKS document over real HTTP."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key())) | {"kid": "r", "alg": "RS256", "use": "sig"},
            json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key())) | {"kid": "e", "alg": "ES256", "use": "sig"},
        ]
        document = json.dumps({"keys": public}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def token(self, *, key: Any = None, alg: str = "RS256", kid: str | None = "r", drop: tuple[str, ...] = (), **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "caller", "exp": now + 300, "iat": now, "scope": "asya:call"} | claims
        body = {name: value for name, value in body.items() if name not in drop}
        return jwt.encode(body, key or self.rsa, algorithm=alg, headers={} if kid is None else {"kid": kid})


def forged(issuer: Issuer) -> dict[str, str]:
    """Twenty tokens that must not pass."""
    now = int(time.time())
    good = issuer.token()
    head, body, signature = good.split(".")

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    pem = issuer.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(good, options={"verify_signature": False})
    import hmac

    signed = f"{part({'alg': 'HS256', 'kid': 'r'})}.{body}"
    confused = f"{signed}.{base64.urlsafe_b64encode(hmac.new(pem, signed.encode(), 'sha256').digest()).rstrip(b'=').decode()}"
    return {
        "none": f"{part({'alg': 'none', 'kid': 'r'})}.{body}.",
        "None": f"{part({'alg': 'None', 'kid': 'r'})}.{body}.",
        "none with signature": f"{part({'alg': 'none', 'kid': 'r'})}.{body}.{signature}",
        "shared secret from the public key": confused,
        "HS256": jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": "r"}),
        "another key": issuer.token(key=issuer.other),
        "another key, unknown id": issuer.token(key=issuer.other, kid="x"),
        "algorithm not of its key": issuer.token(key=issuer.ec, alg="ES256", kid="r"),
        "PS256": issuer.token(alg="PS256"),
        "RS512": issuer.token(alg="RS512"),
        "expired": issuer.token(exp=now - 60),
        "not yet": issuer.token(nbf=now + 120),
        "no expiry": issuer.token(drop=("exp",)),
        "wrong audience": issuer.token(aud="https://other.example"),
        "no audience": issuer.token(drop=("aud",)),
        "wrong issuer": issuer.token(iss="https://evil.example"),
        "no issuer": issuer.token(drop=("iss",)),
        "body changed": f"{head}.{part(claims | {'scope': 'asya:operate'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "no token": "a.b.c",
        "crit": jwt.encode(claims, issuer.rsa, algorithm="RS256", headers={"kid": "r", "crit": ["x"], "x": 1}),
        "key of its own": jwt.encode(
            claims, issuer.other, algorithm="RS256", headers={"jwk": {"kty": "RSA"}, "jku": "http://evil.example"}
        ),
        "far too long": good + "x" * 20_000,
    }


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def oauth(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway], issuer: Issuer) -> Iterator[Gateway]:
    made = gateway_of(
        tmp_path_factory.mktemp("oauth") / "state",
        ASYA_GATEWAY_AUTH="oauth",
        ASYA_GATEWAY_OAUTH_ISSUER=ISSUER,
        ASYA_GATEWAY_OAUTH_AUDIENCE=AUDIENCE,
        ASYA_GATEWAY_OAUTH_JWKS_URL=issuer.url,
    ).start()
    yield made
    made.stop()


def with_token(gateway: Gateway, token: str) -> httpx.Response:
    return gateway.client.get("/tools", headers={"Authorization": f"Bearer {token}"})


def test_good_tokens_pass_with_their_scopes(oauth: Gateway, issuer: Issuer) -> None:
    for token in (issuer.token(), issuer.token(key=issuer.ec, alg="ES256", kid="e"), issuer.token(exp=int(time.time()) - 10)):
        assert with_token(oauth, token).status_code == 200
    names = {tool["name"] for tool in with_token(oauth, issuer.token(scope="openid asya:operate")).json()["tools"]}
    assert "operators-only" in names


@pytest.mark.behaviour("gateway:secrets")
def test_forged_tokens_are_401_and_tell_where_to_sign_in(oauth: Gateway, issuer: Issuer) -> None:
    cases = forged(issuer)
    assert len(cases) >= 20
    for name, token in cases.items():
        answer = with_token(oauth, token)
        expected = (401, 431) if name == "far too long" else (401,)
        assert answer.status_code in expected, (name, answer.text)
        if answer.status_code == 401:
            assert 'resource_metadata="https://gateway.example/.well-known/oauth-protected-resource"' in answer.headers["www-authenticate"]
            assert token not in answer.text


def test_token_without_our_scopes_is_403_that_names_them(oauth: Gateway, issuer: Issuer) -> None:
    answer = with_token(oauth, issuer.token(scope="openid"))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope", scope="asya:call asya:read asya:operate"' in answer.headers["www-authenticate"]


def test_protected_resource_document_is_open(oauth: Gateway) -> None:
    document = oauth.client.get("/.well-known/oauth-protected-resource/mcp").json()
    assert document["resource"] == "https://gateway.example/mcp"
    assert document["authorization_servers"] == [ISSUER]
    assert document["scopes_supported"] == ["asya:call", "asya:read", "asya:operate"]
