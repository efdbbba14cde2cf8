"""Reads a login that the provider starts, from a tile on its own pages (OpenID Connect Core section 4). Pure.

Any site can make a browser start a login, which is harmless. But its target must be a URL of this endpoint, or no login
is started.
"""

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tunnelrelay.address import PublicAddress
from tunnelrelay.oidc.login.query import Params, single
from tunnelrelay.oidc.login.return_path import return_path
from tunnelrelay.policy.rules import Connection

LOGIN_PATH = "/_tunnel/login"
"""What owners register as `initiate_login_uri`, on the endpoint's host or on the callback host."""
MAX_HINT = 256
"""Characters of `login_hint`: an e-mail address, or a provider's short handle. It goes back to the provider only."""
_OURS = ("iss", "target_link_uri", "login_hint")


@dataclass(frozen=True, slots=True)
class Initiation:
    """A login that a provider asked for and that may begin.

    Attributes:
        return_path: Where the login leads, a path of this endpoint.
        login_hint: For the provider; "" for none.
    """

    return_path: str = "/"
    login_hint: str = ""


def read_initiation(params: Params, connection: Connection, base: str) -> Initiation | None:
    """The login to begin at an endpoint; None when it must not begin.

    Without parameters a person opened the address; the login leads to `/`.

    Args:
        base: The endpoint's public address: scheme, host and port, without a slash at the end.
    """
    params_named = single(params, _OURS)
    if params_named is None or (params_named and not _is_issuer(params_named.get("iss", ""), connection)):
        return None
    hint = params_named.get("login_hint", "")
    path = _path_below(base, params_named["target_link_uri"]) if "target_link_uri" in params_named else "/"
    if path is None or len(hint) > MAX_HINT or not hint.isprintable():
        return None
    return Initiation(path, hint)


def host_named(params: Params, address: PublicAddress) -> str | None:
    """The endpoint's host in `target_link_uri`, for the callback host, which serves them all; None when it is none."""
    params_named = single(params, _OURS)
    if params_named is None or "target_link_uri" not in params_named:
        return None
    try:
        host = urlsplit(params_named["target_link_uri"]).hostname or ""
    except ValueError:
        return None
    return host if _path_below(address.url(host), params_named["target_link_uri"]) is not None else None


def passed_on(params: Params, base: str) -> str:
    """The address at the endpoint's own host that begins this login. It keeps only parameters that the relay knows."""
    params_named = single(params, _OURS) or {}
    return f"{base}{LOGIN_PATH}?{urlencode(params_named)}" if params_named else base + LOGIN_PATH


def _is_issuer(issuer: str, connection: Connection) -> bool:
    """Whether this is the connection's issuer. Only one slash more or less at the end is forgiven, as for metadata."""
    return issuer.removesuffix("/") == connection.issuer.removesuffix("/")


def _path_below(base: str, target: str) -> str | None:
    """The path of an address below `base`, made safe; None when it is anywhere else.

    Compared as text: whatever a URL parser might make of `https://app.tun.example@evil`, it does not begin with our
    address and a slash.
    """
    if target == base:
        return "/"
    if not target.startswith(f"{base}/"):
        return None
    return return_path(target.removeprefix(base).encode("utf-8", "replace"))
