"""What the ingress tells the relay's own web app about a request: facts it has checked, not what the request says.

Handlers use these and nothing derived from the Host field (`request.url`, `url_for`), nor Starlette's cookie parser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunnelrelay.model import Peer

SCOPE_KEY = "tunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The trusted side of a request.

    Attributes:
        host: Canonical host that was asked for.
        kind: `endpoint`: the reserved paths of an endpoint's host; `idp`: the callback; `domain`: the bare domain.
        is_secure: The visitor came over TLS.
    """

    host: str
    kind: Literal["endpoint", "idp", "domain"]
    peer: Peer
    is_secure: bool
    request_id: str


def inside_of(scope: Mapping[str, Any]) -> Inside:
    """The trusted side of an ASGI scope.

    Raises:
        KeyError: When the request did not come through the ingress. It must not be answered then.
    """
    inside = scope[SCOPE_KEY]
    assert isinstance(inside, Inside)
    return inside
