"""An issuer of tokens like a CI system: it publishes its keys and has no login. Tests sign the tokens of its jobs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey


class Issuer:
    """An issuer of tokens that publishes its keys and has no login.

    Attributes:
        url: The issuer's URL, at which it listens.
        asked: Paths of the requests that it got, in order.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}"
        self.asked: list[str] = []
        self.key = RSAKey.generate_key(2048, {"kid": "ci-1"})

    def document(self, path: str) -> dict[str, Any] | None:
        """Return the JSON document at a path; None where there is none."""
        self.asked.append(path)
        if path == "/.well-known/jwks":
            return {"keys": [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}
        if path != "/.well-known/openid-configuration":
            return None
        # Like the document of GitHub Actions, which has no authorization endpoint.
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }

    def token(self, audience: str, **claims: Any) -> str:
        """Return a token such as a job of the CI system gets, valid for five minutes."""
        now = int(time.time())
        honest = {"iss": self.url, "aud": audience, "sub": "repo:acme/app:ref:refs/heads/main", "jti": "1"}
        times = {"iat": now, "nbf": now - 300, "exp": now + 300}
        header = {"typ": "JWT", "alg": "RS256", "kid": "ci-1"}
        return jwt.encode(header, {**honest, **times, **claims}, self.key, algorithms=["RS256"])


@contextmanager
def issuer(made_of: type[Issuer] = Issuer) -> Iterator[Issuer]:
    """Context manager: a running `Issuer`, or one of another class, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = found.document(self.path)
            body = json.dumps(document).encode()
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = made_of(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
