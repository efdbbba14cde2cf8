"""An OpenID provider whose codes and tokens are all canaries. It signs every browser in without asking."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.canaries import Canaries


class CanaryProvider:
    """An OpenID provider whose codes and tokens are all canaries.

    Attributes:
        issuer: The provider's issuer URL, at which it listens.
        grants: The `grant_type` of each request to the token endpoint, in order.
        refuses: Whether the authorization endpoint answers with an error.
    """

    def __init__(self, port: int, canaries: Canaries) -> None:
        self.issuer = f"http://localhost:{port}"
        self.canaries = canaries
        self.grants: list[str] = []
        self.refuses = False
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self._nonces: dict[str, str] = {}

    def document(self, path: str) -> dict[str, Any] | None:
        """Return the JSON document at a public path of the provider; None where there is none."""
        if path == "/jwks":
            return {"keys": [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}
        if path == "/userinfo":
            return {"sub": "alice", "name": "Alice Adams", "email": "alice@example.com", "email_verified": True}
        if path != "/.well-known/openid-configuration":
            return None
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "end_session_endpoint": f"{self.issuer}/end",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "offline_access"],
            "authorization_response_iss_parameter_supported": True,
            "code_challenge_methods_supported": ["S256"],
        }

    def redirect(self, path: str, query: dict[str, str]) -> str | None:
        """Return the URL to which a path redirects the browser; None where it does not."""
        if path == "/authorize":
            self.canaries.collect("state", query["state"])
            answer = {"state": query["state"], "iss": self.issuer}
            if self.refuses:
                answer |= {"error": "access_denied", "error_description": "somebody said no"}
            else:
                answer["code"] = self.canaries.plant("code")
                self._nonces[answer["code"]] = query["nonce"]
            return f"{query['redirect_uri']}?{urlencode(answer)}"
        if path == "/end":
            return f"{query['post_logout_redirect_uri']}?{urlencode({'state': query.get('state', '')})}"
        return None

    def grant(self, form: dict[str, str]) -> dict[str, Any]:
        """Return the token endpoint's response to a form."""
        self.grants.append(form["grant_type"])
        if "code_verifier" in form:
            self.canaries.collect("code verifier", form["code_verifier"])
        nonce = self._nonces.get(form.get("code", ""), "")
        return {
            "token_type": "Bearer",
            "expires_in": 3600,
            "access_token": self.canaries.plant("access token"),
            "refresh_token": self.canaries.plant("refresh token"),
            "id_token": self.canaries.collect("ID token", self.sign("tunnel-tests", nonce=nonce)),
        }

    def sign(self, audience: str, **claims: Any) -> str:
        """Return a signed JWT of this provider, valid for five minutes."""
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": audience, "sub": "alice", "iat": now, "exp": now + 300, "jti": str(now)}
        known = {name: value for name, value in claims.items() if value}
        person = {"email": "alice@example.com", "email_verified": True, "name": "Alice Adams"}
        header = {"alg": "RS256", "kid": "k1"}
        return jwt.encode(header, {**honest, **person, **known}, self.key, algorithms=["RS256"])


@contextmanager
def canary_provider(canaries: Canaries) -> Iterator[CanaryProvider]:
    """Context manager: a running `CanaryProvider` on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            target = found.redirect(url.path, query)
            if target is not None:
                self.answer(302, b"", ("Location", target))
            else:
                document = found.document(url.path)
                self.answer(404 if document is None else 200, json.dumps(document).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(200, json.dumps(found.grant(form) if self.path == "/token" else {}).encode())

        def answer(self, status: int, body: bytes, *fields: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *fields):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = CanaryProvider(server.server_port, canaries)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
