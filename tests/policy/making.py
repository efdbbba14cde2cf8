"""Heads as a visitor would send them, and policies as an agent would ask for them or a user type them."""

from collections.abc import Iterable
from typing import Any

from tunnelctl.http1.head import RequestHead, parse_request
from tunnelctl.policy.fields import FIELDS
from tunnelctl.policy.parse import PolicyTexts
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.rules import Policy

KEY = b"k" * 32
ORIGIN = b"https://app.tun.example"

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}


def head(method: str = "GET", target: str = "/", fields: dict[str, str] | list[tuple[str, str]] = ()) -> RequestHead:
    """A request to app.tun.example."""
    pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
    lines = [f"{method} {target} HTTP/1.1", "Host: app.tun.example", *(f"{name}: {value}" for name, value in pairs)]
    return parse_request("\r\n".join([*lines, "", ""]).encode("latin-1"))


def oidc(**changes: Any) -> OidcSpec:
    """A connection that is in order, apart from the changes."""
    settings = {"issuer": "https://acme.okta.com", "client_id": "0oa1", "client_secret": "s3cret", **changes}
    return OidcSpec(**settings)


def policy(upstream: str = "http://localhost:3000", owner: str = "alice", key: bytes = KEY, **spec: Any) -> Policy:
    """What the relay makes of this `PolicySpec`."""
    return compile_policy(PolicySpec(**spec), upstream=upstream, owner=owner, key=key)


def problems(**spec: Any) -> list[str]:
    """What the relay says against this `PolicySpec`; nothing when it takes it."""
    try:
        policy(**spec)
    except PolicyInvalid as invalid:
        return [str(problem) for problem in invalid.problems]
    return []


def typed(*, jwt: Iterable[tuple[str, str]] = (), **flags: str | bool | tuple[str, ...]) -> PolicyTexts:
    """What the flags with these names say, `oidc_client_id` for `--oidc-client-id`.

    Args:
        jwt: The `--jwt-…` flags with their values, in the order in which they are typed.
    """
    paths = {row.parameter: row.path for row in FIELDS}
    by_flag = {row.flag: row.path for row in FIELDS}
    texts = {paths[name]: value if isinstance(value, tuple) else (value,) for name, value in flags.items()}
    entries = [(path, "true" if text is True else str(text)) for path, values in texts.items() for text in values]
    return PolicyTexts((*entries, *((by_flag[flag], text) for flag, text in jwt)))
