"""Find the signed-in user of a request by its cookies: the dashboard's own, or that of the operator's OpenID login."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunnelrelay.dashboard import cookie
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.services.actor import Actor
from tunnelrelay.web.request_parsing import field_values, page_request_of


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The user whom a request's cookies sign in.

    Attributes:
        actor: The user with role and owner, as the services need it.
        session: The value of the session cookie; CSRF tokens are derived from it.
    """

    actor: Actor
    session: bytes = field(repr=False)


async def current_user(deps: Deps, scope: Mapping[str, Any]) -> CurrentUser | None:
    """Return the user whom this request's cookies sign in, or None.

    Raises:
        ManageError: AWAY when the store cannot be read; the request must be refused.
    """
    page_request = page_request_of(scope)
    cookies = field_values(scope, b"cookie")
    is_secure = deps.address.is_secure
    sign_ins = deps.services.sign_ins
    own_cookie = cookie.read(cookies, is_secure=is_secure)
    if own_cookie is not None:
        actor = await sign_ins.actor_of(
            own_cookie.decode("ascii"), peer=page_request.peer.host, request_id=page_request.request_id
        )
        if actor is not None:
            return CurrentUser(actor, own_cookie)
    login_cookie = CookieJar(is_secure).session_in(cookies)
    if sign_ins.oidc is None or login_cookie is None:
        return None
    actor = await sign_ins.oidc.actor_of(cookies, peer=page_request.peer.host, request_id=page_request.request_id)
    return None if actor is None else CurrentUser(actor, login_cookie)
