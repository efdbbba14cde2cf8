"""What the ingress tells the relay's own web app about a request: facts it has checked, not what the request says.

Handlers use these and nothing derived from the Host field (`request.url`, `url_for`), nor Starlette's cookie parser.
"""

from collections.abc import Mapping
from typing import Any

from tunnelrelay.model import Inside

SCOPE_KEY = "tunnel"


def inside_of(scope: Mapping[str, Any]) -> Inside:
    """The trusted side of an ASGI scope.

    Raises:
        KeyError: When the request did not come through the ingress. It must not be answered then.
    """
    inside = scope[SCOPE_KEY]
    assert isinstance(inside, Inside)
    return inside
