"""Checks an agent's offer of a tunnel, and makes the registry's tunnel from it."""

import hmac
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
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import MAX_WEIGHT, Pairs, Tunnel, TunnelLink

MAX_UPSTREAM = 256
"""Characters kept of an upstream's address, which is only for people."""


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """Why an offer is refused: a code of `Refused`, message and hint for people, and the problems by setting."""

    code: str
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()


def policy_invalid(problems: Sequence[Problem], hint: str = "") -> OfferRefused:
    """The refusal of an offer because of its settings."""
    reported, more = first_ones(problems), len(problems) - MAX_PROBLEMS
    message = joined(reported) + (f"; and {more} more" if more > 0 else "")
    return OfferRefused("policy_invalid", message, hint, reported)


def weight_problem(offer: Bind | Join) -> Problem | None:
    """Why a tunnel cannot have this weight, None when it can."""
    if 1 <= offer.weight <= MAX_WEIGHT:
        return None
    return Problem("weight", f"{offer.weight} is not between 1 and {MAX_WEIGHT}")


def not_allowed(token: Token, host: str, address: PublicAddress) -> OfferRefused | None:
    """Why a token may not bind this host, None when it may."""
    if may_bind(token.acl, host, host.removesuffix(f".{address.domain}")):
        return None
    return OfferRefused("not_allowed", f"this authtoken may not serve {host}", _allowed(token))


def labels_of(join: Join, token: Token, edges: EdgeTable) -> Pairs | OfferRefused:
    """The labels of a joining tunnel; for a named edge, the edge's own label."""
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
        return OfferRefused("not_allowed", "this authtoken may not carry these labels", _allowed(token))
    return labels


def make_tunnel(
    offer: Bind | Join,
    *,
    now: float,
    link: TunnelLink,
    peer: str,
    agent: str,
    token: Token,
    session: str,
    mark_key: bytes,
    end: Callable[[str, str], None],
    lose: Callable[[str, str], None],
) -> Tunnel:
    """The registry's tunnel for an agent's offer.

    Args:
        now: Unix time.
        agent: Instance id.
        session: Id of the agent session.
        end, lose: As `Tunnel` has them.
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
        metadata=offer.metadata[:MAX_METADATA],
        upstream=offer.upstream[:MAX_UPSTREAM],
        session=session,
        credential=token.id,
        started_at=now,
    )


def bound_of(tunnel: Tunnel, address: PublicAddress, registry: Registry) -> Bound:
    """The message that tells an agent which addresses its tunnel serves."""
    host = tunnel.hosts[0] if tunnel.hosts else ""
    return Bound(
        tunnel=tunnel.number,
        url=address.url(host) if host else "",
        host=host,
        generation=tunnel.claim,
        redirect_uri=redirect_uri(registry.connection_of(host), host, address) if host else None,
        id=tunnel.id,
        urls=tuple(address.url(each) for each in tunnel.hosts),
    )


def mark_of(key: bytes, agent: str, number: int) -> bytes:
    """The value that names a tunnel in visitors' cookies: a keyed digest, the same when the agent reconnects."""
    return hmac.digest(key, f"{agent}\n{number}".encode(), "sha256")[:12].hex().encode()


def _allowed(token: Token) -> str:
    """The hint for a bind that the token does not allow."""
    return f"it may: {', '.join(token.acl)[:300]}; use another authtoken, or ask the person who made this one"
