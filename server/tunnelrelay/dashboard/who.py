"""Who is signed in, by a request's cookies: ours, or that of the operator's OpenID provider on this host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunnelrelay.dashboard import cookie
from tunnelrelay.dashboard.deps import Deps
from tunnelrelay.manage.actor import Actor
from tunnelrelay.oidc.cookies import CookieJar
from tunnelrelay.web.reading import field_values, inside_of


@dataclass(frozen=True, slots=True)
class Who:
    """A user who is signed in.

    Attributes:
        session: The value of the cookie that says so: what CSRF tokens are made of.
    """

    actor: Actor
    session: bytes = field(repr=False)


async def who(deps: Deps, scope: Mapping[str, Any]) -> Who | None:
    """Who this request's cookies belong to; None for no one.

    Raises:
        ManageError: AWAY. It cannot be read; refuse.
    """
    inside = inside_of(scope)
    cookies = field_values(scope, b"cookie")
    is_secure = deps.address.is_secure
    sign_ins = deps.services.sign_ins
    ours = cookie.read(cookies, is_secure=is_secure)
    if ours is not None:
        actor = await sign_ins.actor_of(ours.decode("ascii"), peer=inside.peer.host, request_id=inside.request_id)
        if actor is not None:
            return Who(actor, ours)
    theirs = CookieJar(is_secure).session_in(cookies)
    if sign_ins.oidc is None or theirs is None:
        return None
    actor = await sign_ins.oidc.actor_of(cookies, peer=inside.peer.host, request_id=inside.request_id)
    return None if actor is None else Who(actor, theirs)
