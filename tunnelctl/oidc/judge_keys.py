"""Judges a provider's published keys. `keys.py` decides which of them can be used. Makes no network calls."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.findings import Finding, error, ok, warning
from tunnelctl.oidc.keys import KeySet, read_keys

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi"})


def judge_keys(document: Mapping[str, Any], algorithms: frozenset[str]) -> list[Finding]:
    """Return findings about a JWK set.

    Args:
        algorithms: The provider's signature algorithms that the relay accepts.
    """
    try:
        keys = read_keys(document)
    except ProviderError as problem:
        return [error("keys", problem.detail, fix="have the provider publish its present keys, and no other")]
    published = document["keys"]
    return [
        *_private(published),
        *_fit(keys, len(published), algorithms),
        *_unfit(published, keys),
        *_names(keys, algorithms),
    ]


def _private(published: list[Any]) -> list[Finding]:
    if not any(isinstance(jwk, dict) and _is_secret(jwk) for jwk in published):
        return []
    return [
        error(
            "private_key",
            "it publishes a private key",
            why="everybody can sign tokens with it, and so sign in as anybody",
            fix="take the key away at the provider, make a new one, and publish only the public half",
        )
    ]


def _is_secret(jwk: Mapping[str, Any]) -> bool:
    return bool(_PRIVATE_MEMBERS & jwk.keys()) or jwk.get("kty") == "oct"


def _fit(keys: KeySet, published: int, algorithms: frozenset[str]) -> list[Finding]:
    usable = {algorithm for key in keys.keys for algorithm in key.algorithms} & algorithms
    if usable:
        return [ok("keys", f"{len(keys.keys)} of its {published} keys can check ID tokens")]
    what = f"none of its {published} keys can check ID tokens" if published else "it publishes no key"
    return [
        error(
            "keys",
            what,
            why=f"it says that it signs with {', '.join(sorted(algorithms))}",
            fix="give it an RSA key of 2048 to 8192 bits, or an EC key on P-256",
        )
    ]


def _unfit(published: list[Any], keys: KeySet) -> list[Finding]:
    """Warn about keys that are published for signatures but cannot be used."""
    left_out = sum(isinstance(jwk, dict) and jwk.get("use", "sig") == "sig" for jwk in published) - len(keys.keys)
    if left_out <= 0 or not keys.keys:
        return []
    return [
        warning(
            "unfit_keys",
            f"{left_out} of its signing keys cannot be used",
            why="they are too short (RSA below 2048 bits), too long, on an unknown curve, or broken; "
            "logins fail when the provider signs with one of them",
            fix="replace them at the provider",
        )
    ]


def _names(keys: KeySet, algorithms: frozenset[str]) -> list[Finding]:
    """Warn about keys without a unique `kid`.

    A token names its key by `kid`, and the relay does not try several keys.
    """
    shared = Counter((key.kid, algorithm) for key in keys.keys for algorithm in key.algorithms & algorithms)
    if all(count == 1 for count in shared.values()):
        return []
    return [
        warning(
            "key_names",
            "several of its keys have the same name (`kid`), or none",
            why="a token must say which key signed it, else it is refused",
            fix="give each key a `kid` of its own at the provider",
        )
    ]
