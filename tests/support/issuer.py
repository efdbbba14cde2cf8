"""An issuer like a CI system: it publishes its keys and lets nobody log in. The test signs what its jobs would get."""

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
    """See the module.

    Attributes:
        url: Its name, and where it answers.
        asked: Paths that were asked for, in order.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}"
        self.asked: list[str] = []
        self.key = RSAKey.generate_key(2048, {"kid": "ci-1"})

    def document(self, path: str) -> dict[str, Any] | None:
        """What lies at a path."""
        self.asked.append(path)
        if path == "/.well-known/jwks":
            return {"keys": [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}
        if path != "/.well-known/openid-configuration":
            return None
        # As GitHub Actions has it: no endpoint where anybody could log in.
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }

    def token(self, audience: str, **claims: Any) -> str:
        """A job's token, good for five minutes."""
        now = int(time.time())
        honest = {"iss": self.url, "aud": audience, "sub": "repo:acme/app:ref:refs/heads/main", "jti": "1"}
        times = {"iat": now, "nbf": now - 300, "exp": now + 300}
        header = {"typ": "JWT", "alg": "RS256", "kid": "ci-1"}
        return jwt.encode(header, {**honest, **times, **claims}, self.key, algorithms=["RS256"])


@contextmanager
def issuer() -> Iterator[Issuer]:
    """A running issuer on a port of the system's choice."""

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
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Issuer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
