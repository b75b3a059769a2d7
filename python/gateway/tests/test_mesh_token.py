"""Who reports: ServiceAccount tokens of the cluster's issuer, for our audience, of our own namespace."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from asya_gateway.http.auth import MeshToken
from asya_gateway.http.errors import HttpRefusal
from asya_gateway.http.tokens import TokenChecker, issuer_of

ISSUER = "https://issuer.example.com"
SUBJECT = "system:serviceaccount:demo:default"
Sign = Callable[..., str]


@pytest.fixture(scope="module")
def sign() -> tuple[Sign, str]:
    """Signs tokens as a cluster does; and the cluster's keys."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    jwks = json.dumps({"keys": [{**public, "kid": "one", "alg": "ES256", "use": "sig"}]})

    def signed(**changed: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": ["asya-gateway"],
            "exp": now + 600,
            "iat": now,
            "sub": SUBJECT,
            "kubernetes.io": {"namespace": "demo"},
        }
        return jwt.encode({**claims, **changed}, key, algorithm="ES256", headers={"kid": "one"})

    return signed, jwks


def asked(sign: tuple[Sign, str], folder: Path, **changed: Any) -> str:
    """The principal's name. Raises HttpRefusal."""
    signed, jwks = sign
    keys = folder / "jwks.json"
    keys.write_text(jwks)
    mesh = MeshToken(TokenChecker(issuer=ISSUER, audience="asya-gateway", jwks_url=keys.as_uri()), "demo")
    return asyncio.run(mesh.principal(signed(**changed))).name


def test_a_pod_of_the_namespace_may_report(sign: tuple[Sign, str], tmp_path: Path) -> None:
    assert asked(sign, tmp_path) == SUBJECT


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"kubernetes.io": {"namespace": "other"}}, "not of namespace demo"),
        ({"kubernetes.io": None}, "not of namespace demo"),
        ({"kubernetes.io": "demo"}, "not of namespace demo"),
        ({"iss": "https://other.example.com"}, "another issuer"),
        ({"aud": ["kubernetes"]}, "audience"),
    ],
    ids=["namespace", "nowhere", "no-mapping", "issuer", "audience"],
)
def test_other_tokens_of_the_cluster_may_not(sign: tuple[Sign, str], tmp_path: Path, changed: dict[str, Any], word: str) -> None:
    with pytest.raises(HttpRefusal, match=word):
        asked(sign, tmp_path, **changed)


def test_the_issuer_is_that_of_the_pods_own_token(sign: tuple[Sign, str]) -> None:
    assert issuer_of(sign[0]()) == ISSUER
    assert issuer_of(sign[0](iss="")) is None
    assert issuer_of("no token") is None


def test_keys_are_had_from_an_api_server_that_wants_its_own_media_type(sign: tuple[Sign, str], tmp_path: Path) -> None:
    signed, jwks = sign

    class ApiServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = "application/jwk-set+json" in self.headers["Accept"] and self.headers["Authorization"] == "Bearer own"
            self.send_response(200 if is_known else 406)
            self.end_headers()
            self.wfile.write(jwks.encode() if is_known else b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    own = tmp_path / "token"
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/openid/v1/jwks"
        try:
            for token, answer in (("own", SUBJECT), ("other", "cannot be had now: HTTP Error 406")):
                own.write_text(token)
                mesh = MeshToken(TokenChecker(issuer=ISSUER, audience="asya-gateway", jwks_url=url, token_file=own), "demo")
                if answer == SUBJECT:
                    assert asyncio.run(mesh.principal(signed())).name == SUBJECT
                else:
                    with pytest.raises(HttpRefusal, match=answer):
                        asyncio.run(mesh.principal(signed()))
        finally:
            server.shutdown()
