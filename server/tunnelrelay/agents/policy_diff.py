"""Audit events about how an endpoint's policy changed between two claims of its name; digests stand for the rules."""

import hmac
from collections.abc import Iterator

from tunnelrelay.policy.rules import Policy

NONE = "none"
"""Stands in an audit event for the digest of an endpoint that requires no login."""


def changes(former: Policy, policy: Policy, key: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield an audit event, its kind with the old and the new digest, for the login and the rules where they changed.

    Args:
        key: HMAC key of the digests. Rules name people, so an unkeyed digest could be matched by trying names.
    """
    for kind, of in (("connection.changed", _provider), ("rules.changed", _rules)):
        old, new = of(former, key), of(policy, key)
        if old != new:
            yield kind, {"old": old, "new": new}


def _provider(policy: Policy, key: bytes) -> str:
    connection = policy.connection
    return NONE if connection is None else _digest(key, (connection.id, connection.epoch))


def _rules(policy: Policy, key: bytes) -> str:
    return _digest(key, policy.access)


def _digest(key: bytes, parts: tuple[object, ...]) -> str:
    return hmac.digest(key, repr(parts).encode(), "sha256").hex()[:16]
