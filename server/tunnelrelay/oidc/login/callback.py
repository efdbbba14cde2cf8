"""Checks a provider's answer at the callback: which login it belongs to, and whether it is passed on. Pure."""

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
"""Characters of the provider's own words that are shown to the visitor."""
_OURS = ("code", "state", "iss", "error", "error_description")


class Endpoints(Protocol):
    """What logins need to know of the live endpoints."""

    def connection_of(self, host: str) -> Connection | None:
        """The connection that guards an endpoint now; None when there is no such endpoint or it asks for no login."""

    def owner_of(self, host: str) -> str:
        """The owner, whom pages tell visitors to ask; "" when unknown."""

    def generation_of(self, host: str) -> int:
        """A number that grows whenever the host changes owner; 0 when unknown."""


class ArrivedAt(NamedTuple):
    """The callback that the browser came to. `name` is a connection's id, an endpoint's host, or "" for the shared
    one."""

    kind: CallbackKind
    name: str = ""


class RefusedAnswer(NamedTuple):
    """An answer from a provider that is not passed on to any endpoint.

    Attributes:
        code: The error to show.
        host: The endpoint whose login it was; "" when that is not known for sure.
        return_path: Where the visitor wanted to go there.
    """

    code: str
    host: str = ""
    return_path: str = "/"


def read_answer(
    params: Params, arrived: ArrivedAt, *, ring: KeyRing, endpoints: Endpoints, now: float
) -> Handoff | RefusedAnswer:
    """Return what is passed on to the endpoint's host, or the error to show here instead.

    Only a state that we sealed says where the answer goes. It must arrive at the callback whose address was sent, and
    `iss` (RFC 9207) must name the provider the login was started with: else a hostile owner's provider could have
    another provider's code delivered into a login of its own (the COAT attack), and redeemed at his token endpoint.

    A state that has expired proves nothing more, and its code goes nowhere. It still says where its visitor wanted to
    go, so a page leads back there.
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
    """Whether `iss` names the provider (RFC 9207 section 2.4). It may be absent unless the provider promises it."""
    issuer = answer.get("iss")
    return not state.needs_iss if issuer is None else issuer == state.issuer


def _shown(text: str) -> str:
    """The provider's error text without control characters, cut. The page escapes it."""
    return "".join(character for character in text[:MAX_DESCRIPTION] if character.isprintable())
