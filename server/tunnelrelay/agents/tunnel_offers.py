"""Checks an agent's offer of a tunnel (a bind or a join), and makes the registry's `Tunnel` from it."""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunnelctl.wire.messages import Bind, Bound, Join
from tunnelctl.wire.problem import MAX_PROBLEMS, Problem, first_ones, joined
from tunnelctl.wire.texts import EDGE_LABEL, MAX_LABEL, MAX_LABELS, MAX_METADATA, label_problem
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.redirect_uris import redirect_uri
from tunnelrelay.agents.token_acl import may_bind
from tunnelrelay.ids import new_id
from tunnelrelay.model import Token
from tunnelrelay.policy.compile import PolicyInvalid
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import MAX_WEIGHT, Pairs, Tunnel, TunnelLink

MAX_UPSTREAM = 256
"""Characters kept of the address of an agent's local service, which is only shown to people."""


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """Why a bind or join is refused: a code for the agent, a message and a hint for people, and a problem for each
    wrong setting."""

    code: str
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()


def policy_invalid(problems: Sequence[Problem], hint: str = "") -> OfferRefused:
    """Return the refusal of a bind or join whose settings have these problems."""
    reported, more = first_ones(problems), len(problems) - MAX_PROBLEMS
    message = joined(reported) + (f"; and {more} more" if more > 0 else "")
    return OfferRefused("policy_invalid", message, hint, reported)


def weight_problem(offer: Bind | Join) -> Problem | None:
    """Return why a tunnel cannot have the weight that its offer asks for; None when it can."""
    if 1 <= offer.weight <= MAX_WEIGHT:
        return None
    return Problem("weight", f"{offer.weight} is not between 1 and {MAX_WEIGHT}")


def not_allowed(token: Token, host: str, address: PublicAddress) -> OfferRefused | None:
    """Return the refusal for a token whose ACL does not allow this host; None when it does."""
    if may_bind(token.acl, host, host.removesuffix(f".{address.domain}")):
        return None
    return OfferRefused("not_allowed", f"this agent may not serve {host}", _allowed(token))


def labels_of(join: Join, token: Token, edges: EdgeTable) -> Pairs | OfferRefused:
    """Return the labels of a tunnel that joins edges, or why it is refused.

    A join that names one edge gets that edge's own label, `edge` with the edge's id.
    """
    labels = join.labels
    is_label = not any(label_problem(*label) for label in labels)
    if bool(labels) == bool(join.edge) or len(labels) > MAX_LABELS or not is_label:
        text = f"either an edge, or 1 to {MAX_LABELS} labels of at most {MAX_LABEL} printable characters"
        return policy_invalid([Problem("labels", text)])
    if problem := weight_problem(join):
        return policy_invalid([problem])
    if join.edge:
        edge = edges.by_name(token.owner, join.edge)
        if edge is None:
            hint = "the dashboard lists the edges, and so does: tunnel api edges https list"
            return OfferRefused("edge_unknown", f"there is no edge {join.edge[:80]!r} of this owner", hint)
        labels = ((EDGE_LABEL, edge.id),)
    if not may_bind(token.acl, "", "", labels):
        return OfferRefused("not_allowed", "this agent may not carry these labels", _allowed(token))
    return labels


def make_tunnel(
    offer: Bind | Join,
    *,
    now: float,
    link: TunnelLink,
    peer: str,
    agent: str,
    token: Token,
    job: str,
    session: str,
    mark_key: bytes,
    end: Callable[[str, str], None],
    lose: Callable[[str, str], None],
) -> Tunnel:
    """Make the registry's `Tunnel` from an agent's bind or join.

    Args:
        now: Unix time.
        agent: Id of the agent's instance, which stays when it reconnects.
        job: The CI job that the agent runs in; "" when it sent an authtoken.
        session: Id of the agent session.
        mark_key: HMAC key of the tunnel's value in sticky cookies.
        end, lose: Callbacks of the registry; see `Tunnel`.
    """
    return Tunnel(
        id=new_id("tunnel", now),
        link=link,
        number=offer.tunnel,
        owner=token.owner,
        agent=agent,
        name=offer.name[:80],
        peer=peer,
        end=end,
        lose=lose,
        mark=mark_of(mark_key, agent, offer.tunnel),
        pooling=isinstance(offer, Bind) and offer.pooling,
        weight=offer.weight,
        inspect=offer.inspect,
        metadata=offer.metadata[:MAX_METADATA],
        upstream=offer.upstream[:MAX_UPSTREAM],
        session=session,
        credential=token.id,
        job=job,
        started_at=now,
    )


def bound_of(tunnel: Tunnel, address: PublicAddress, registry: Registry) -> Bound:
    """Return the message that tells an agent which addresses its tunnel serves."""
    host = tunnel.hosts[0] if tunnel.hosts else ""
    return Bound(
        tunnel=tunnel.number,
        url=address.url(host) if host else "",
        host=host,
        generation=tunnel.claim,
        redirect_uri=redirect_uri(registry.connection_of(host), host, address) if host else None,
        id=tunnel.id,
        urls=tuple(address.url(each) for each in tunnel.hosts),
        run_token_accepted=registry.accepts_run_token(host),
    )


def run_token_digest(bind: Bind) -> bytes:
    """Return the digest of the token of the agent's own run; b"" without one.

    Raises:
        PolicyInvalid: It is no SHA-256 in hex.
    """
    if not bind.run_token_sha256:
        return b""
    if not re.fullmatch("[0-9a-f]{64}", bind.run_token_sha256):
        raise PolicyInvalid([Problem("run_token_sha256", "it is no SHA-256 in hex")])
    return bytes.fromhex(bind.run_token_sha256)


def mark_of(key: bytes, agent: str, number: int) -> bytes:
    """Return the value that identifies a tunnel in visitors' sticky cookies: an HMAC, unchanged by reconnects."""
    return hmac.digest(key, f"{agent}\n{number}".encode(), "sha256")[:12].hex().encode()


def _allowed(token: Token) -> str:
    """Return the hint for a bind or join that the token's ACL does not allow."""
    allowed = ", ".join(token.acl)[:300]
    return f"it may: {allowed}; use another authtoken or trust rule, or ask the person who made this one"
