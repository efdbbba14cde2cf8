"""Reads a login that the provider starts, from a tile on its own pages (OpenID Connect Core section 4). Does no I/O.

Any site can make a browser start a login, which is harmless. The target must be a URL of this endpoint, otherwise no
login is started.
"""

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tunnelrelay.address import PublicAddress
from tunnelrelay.oidc.login.query import Params, single
from tunnelrelay.oidc.login.return_path import return_path
from tunnelrelay.policy.rules import Connection

LOGIN_PATH = "/_tunnel/login"
"""Path that owners register as `initiate_login_uri`, on the endpoint's host or on the callback host."""
MAX_HINT = 256
"""Maximum characters of `login_hint`: an e-mail address, or a provider's short handle. It is sent only to the
provider."""
_OURS = ("iss", "target_link_uri", "login_hint")


@dataclass(frozen=True, slots=True)
class Initiation:
    """A login that a provider requested and that may begin.

    Attributes:
        return_path: Path of this endpoint to redirect to after the login.
        login_hint: Hint for the provider; "" for none.
    """

    return_path: str = "/"
    login_hint: str = ""


def read_initiation(params: Params, connection: Connection, base: str) -> Initiation | None:
    """Return the login to begin at an endpoint; None when it must not begin.

    Without parameters a person opened the URL; the login then leads to `/`.

    Args:
        base: The endpoint's public address: scheme, host and port, without a trailing slash.
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
    """Return the endpoint's host in `target_link_uri`, for requests to the callback host; None when it is not an
    endpoint.
    """
    params_named = single(params, _OURS)
    if params_named is None or "target_link_uri" not in params_named:
        return None
    try:
        host = urlsplit(params_named["target_link_uri"]).hostname or ""
    except ValueError:
        return None
    return host if _path_below(address.url(host), params_named["target_link_uri"]) is not None else None


def passed_on(params: Params, base: str) -> str:
    """Return the URL at the endpoint's own host that begins this login, with only the parameters that the relay
    knows.
    """
    params_named = single(params, _OURS) or {}
    return f"{base}{LOGIN_PATH}?{urlencode(params_named)}" if params_named else base + LOGIN_PATH


def _is_issuer(issuer: str, connection: Connection) -> bool:
    """Return whether this is the connection's issuer.

    A difference of one trailing slash is ignored, as for metadata.
    """
    return issuer.removesuffix("/") == connection.issuer.removesuffix("/")


def _path_below(base: str, target: str) -> str | None:
    """Return the path of a URL below `base`, made safe; None for any other URL.

    Compared as text: `https://app.tun.example@evil` does not begin with our address and a slash, however URL parsers
    read it.
    """
    if target == base:
        return "/"
    if not target.startswith(f"{base}/"):
        return None
    return return_path(target.removeprefix(base).encode("utf-8", "replace"))
