"""Checks a provider's response at the callback: which login it belongs to, and whether it may be forwarded. Does no
I/O.
"""

from typing import NamedTuple, Protocol

from tunnelrelay.address import CallbackKind
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.oidc.login.query import Params, single
from tunnelrelay.oidc.login.sealed_state import (
    ANY_AGE,
    CALLBACK_AUDIENCE,
    HANDOFF_SECONDS,
    MAX_CODE,
    Handoff,
    State,
    open_blob,
)
from tunnelrelay.policy.rules import Connection

MAX_DESCRIPTION = 300
"""Maximum characters of the provider's error text that are shown to the visitor."""
_OURS = ("code", "state", "iss", "error", "error_description")


class Endpoints(Protocol):
    """Interface to the live endpoints, for logins."""

    def connection_of(self, host: str) -> Connection | None:
        """Return the OpenID connection of an endpoint; None when there is no such endpoint, or it has no login."""

    def owner_of(self, host: str) -> str:
        """Return the owner of an endpoint, whom pages tell visitors to contact; "" when unknown."""

    def generation_of(self, host: str) -> int:
        """Return a number that grows whenever the host changes owner; 0 when unknown."""


class ArrivedAt(NamedTuple):
    """The callback at which the browser arrived.

    `name` is a connection's id, an endpoint's host, or "" for the shared callback.
    """

    kind: CallbackKind
    name: str = ""


class RefusedAnswer(NamedTuple):
    """A provider's response that is not forwarded to any endpoint.

    Attributes:
        code: Code of the error page.
        host: The endpoint of the login; "" when it is not certain.
        return_path: Path that the visitor wanted to open there.
    """

    code: str
    host: str = ""
    return_path: str = "/"


def read_answer(
    params: Params, arrived: ArrivedAt, *, ring: KeyRing, endpoints: Endpoints, now: float
) -> Handoff | RefusedAnswer:
    """Return the value to forward to the endpoint's host, or the error to show on the callback host.

    Only a state sealed by this relay decides where the response is forwarded. It must arrive at the callback whose URL
    was sent, and `iss` (RFC 9207) must name the provider with which the login began. Otherwise a hostile owner's
    provider could have another provider's code delivered into one of its own logins (the COAT attack) and redeem it at
    its own token endpoint.

    With an expired state the code is not forwarded. The state still tells where the visitor wanted to go, so the error
    page links there.
    """
    answer = single(params, _OURS)
    state = None if answer is None else open_blob(ring, State, CALLBACK_AUDIENCE, answer.get("state", ""), ANY_AGE)
    if answer is None or state is None or arrived != _expected_at(state) or not _names_issuer(answer, state):
        return RefusedAnswer("login_state_invalid")
    connection = endpoints.connection_of(state.host)
    connection_now = connection and (connection.id, connection.epoch, endpoints.generation_of(state.host))
    connection_at_start = (state.connection_id, state.epoch, state.generation)
    if connection_now != connection_at_start or now >= state.expires_at:
        # The endpoint changed hands, its owner changed the provider, or the visitor took too long.
        is_owners = connection is not None and endpoints.generation_of(state.host) == state.generation
        return (
            RefusedAnswer("login_restart", state.host, state.return_path)
            if is_owners
            else RefusedAnswer("login_restart")
        )
    code, error = answer.get("code", ""), answer.get("error", "")
    if bool(code) == bool(error) or len(code) > MAX_CODE:
        return RefusedAnswer("login_state_invalid")
    return Handoff(
        tx=state.tx,
        binding=state.binding,
        connection_id=state.connection_id,
        epoch=state.epoch,
        host=state.host,
        generation=state.generation,
        expires_at=now + HANDOFF_SECONDS,
        code=code,
        error=_shown(error),
        description=_shown(answer.get("error_description", "")) if error else "",
        return_path=state.return_path,
    )


def _expected_at(state: State) -> ArrivedAt:
    names = {"shared": "", "connection": state.connection_id, "host": state.host}
    return ArrivedAt(state.callback, names[state.callback])


def _names_issuer(answer: dict[str, str], state: State) -> bool:
    """Return whether `iss` names the provider (RFC 9207 section 2.4).

    It may be missing unless the provider promises it.
    """
    issuer = answer.get("iss")
    return not state.needs_iss if issuer is None else issuer == state.issuer


def _shown(text: str) -> str:
    """Return the provider's error text, shortened and without control characters. The page escapes it."""
    return "".join(character for character in text[:MAX_DESCRIPTION] if character.isprintable())
