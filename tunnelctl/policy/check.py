"""Checks a `PolicySpec`, setting by setting. The agent checks it before connecting, the relay when a tunnel is bound.

These checks need only the spec. The relay has further ones: which issuers it may call, and which header fields it sets
itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from tunnelctl.policy import values
from tunnelctl.policy.fields import (
    FIELDS,
    MAX_NETWORKS,
    MAX_TOKEN_ISSUERS,
    MIN_LOCAL_RECHECK,
    PolicyField,
    default_of,
)
from tunnelctl.policy.named import is_named
from tunnelctl.policy.shared_issuers import SHARED_DOMAINS, narrows, shared_issuer
from tunnelctl.wire.messages import PolicySpec
from tunnelctl.wire.problem import MAX_PROBLEMS, Problem

OF_CONNECTIONS = frozenset({"cidr_allow", "cidr_deny"})
"""Settings of a policy that apply to connections instead of requests."""


def check_policy(
    spec: PolicySpec, *, min_recheck: int = MIN_LOCAL_RECHECK, allows_short_passwords: bool = False
) -> list[Problem]:
    """Return the mistakes in a policy, each with its setting; empty when there are none.

    Args:
        min_recheck: Minimum seconds between two checks of a session at the provider. The default is that of a relay for
            its own machine only, which is the lowest.
        allows_short_passwords: The passwords come from the store, and may be older than the minimum length.
    """
    if (count := len(spec.cidr_allow) + len(spec.cidr_deny)) > MAX_NETWORKS:
        text = f"{count} networks with those of cidr_deny, expected at most {MAX_NETWORKS}"
        return [Problem("cidr_allow", text)]
    problems = []
    for row in FIELDS:
        if row.path == "oidc.recheck_seconds":
            row = replace(row, low=min_recheck)
        elif row.kind == "password" and allows_short_passwords:
            row = replace(row, check=values.user_and_password)
        found = (text for value in _values_in(spec, row) for text in check_field(row, value))
        problems += [Problem(row.path, text) for text in islice(found, MAX_PROBLEMS)]  # a refusal holds no more
    return problems + _check_together(spec)


def tcp_problems(spec: PolicySpec) -> list[Problem]:
    """Return a problem for each setting that a TCP port cannot have: all but the lists of networks, as there are no
    requests.
    """
    unset = PolicySpec()
    return [
        Problem(name, "not for tcp: only --cidr-allow and --cidr-deny hold there")
        for name in PolicySpec.__struct_fields__
        if name not in OF_CONNECTIONS and getattr(spec, name) != getattr(unset, name)
    ]


def check_field(row: PolicyField, value: Any) -> Iterator[str]:
    """Return the mistakes in the value of one setting; for a list, those of each entry and of the number of entries."""
    if not row.is_list:
        yield from _check_one(row, value)
        return
    if row.max_count is not None and len(value) > row.max_count:
        yield f"{len(value)} of them, expected at most {row.max_count}"
    for one in value:
        yield from _check_one(row, one)


def _check_one(row: PolicyField, value: Any) -> Iterator[str]:
    texts = value if isinstance(value, tuple) else (value,)
    longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
    if row.max_length is not None and longest > row.max_length:
        yield f"it has {longest} characters, expected at most {row.max_length}"
    elif row.kind == "choice" and value not in row.words:
        yield f"{value[:64]!r} is none of {', '.join(row.words)}"
    elif row.kind == "duration":
        if not (row.low <= value <= row.high or (row.is_zero_never and value == 0)):
            yield f"it is {value} s, must be {'0 (never) or ' if row.is_zero_never else ''}{row.low} to {row.high}"
    elif text := row.check(value):
        yield text


def _values_in(spec: PolicySpec, row: PolicyField) -> list[Any]:
    """Return the setting's values in the spec: one, none if it has the default, or one for each token issuer."""
    holder: Any = getattr(spec, row.part)
    if holder is None or (row.path in CLIENT and spec.oidc is not None and is_named(spec.oidc.issuer)):
        return []
    if row.part == "jwt":
        return [getattr(jwt, row.name) for jwt in spec.jwt[:MAX_TOKEN_ISSUERS]]
    value = holder if row.path == row.part else getattr(holder, row.name)
    return [] if value == default_of(row) else [value]


CLIENT = ("oidc.client_id", "oidc.client_secret")
"""Settings that must not be given with a named provider, as the relay has them already."""


def _check_together(spec: PolicySpec) -> list[Problem]:
    """Return the problems of settings that cannot be combined."""
    return [Problem(path, text) for path, judge in _RULES for text in judge(spec)]


def _one_proof(spec: PolicySpec) -> Iterator[str]:
    if spec.basic_auth and spec.oidc is not None:
        yield "not together with an OpenID login; visitors prove who they are in one way"
    if spec.basic_auth and spec.jwt:
        yield "not together with tokens of programs; both are read from the Authorization header"


def _params(spec: PolicySpec) -> Iterator[str]:
    params = spec.oidc.request_params if spec.oidc is not None else ()
    if len({name for name, _ in params}) != len(params):
        yield "a request parameter is given twice"
    if spec.oidc is not None and spec.oidc.callback == "host" and ("response_mode", "form_post") in params:
        # A form posted by another site has no login cookie (SameSite=Lax), and this callback has no redirect that adds
        # it.
        yield "with the callback at the endpoint's own host, response_mode cannot be form_post"


def _audience(spec: PolicySpec) -> Iterator[str]:
    if spec.oidc is not None and spec.oidc.audience and "audience" in dict(spec.oidc.request_params):
        yield "audience is a request parameter too; give one of the two"


def _issuers(spec: PolicySpec) -> Iterator[str]:
    """Allow each issuer only once: otherwise a token refused by its strict rules could pass by its other ones."""
    issuers = [jwt.issuer.rstrip("/") for jwt in spec.jwt]
    if len(issuers) > MAX_TOKEN_ISSUERS:
        yield f"{len(issuers)} issuers, expected at most {MAX_TOKEN_ISSUERS}"
    if spec.oidc is not None and spec.oidc.issuer.rstrip("/") in issuers:
        yield "this issuer is the login's own: its tokens are taken with an audience for bearers there"
    elif len(set(issuers)) != len(issuers):
        yield "an issuer is named twice"


def _programs(spec: PolicySpec) -> Iterator[str]:
    """Require a narrow rule for a shared issuer, which signs tokens for all its users, for any audience."""
    oidc = spec.oidc
    shared = shared_issuer(oidc.issuer) if oidc is not None and oidc.bearer else None
    if oidc is None or shared is None:
        return
    domains = {domain.strip().lower().removeprefix("@") for domain in oidc.allow_domains}
    # One matching claim rule suffices to enter, so each rule must be narrow by itself.
    by_claims = bool(oidc.allow_claims) and all(narrows((rule,), shared) for rule in oidc.allow_claims)
    by_email = bool(oidc.allow_emails or domains) and not domains & SHARED_DOMAINS
    if not (by_claims or by_email or (shared.groups and oidc.allow_groups)):
        yield (
            f"{oidc.issuer} signs tokens for {shared.who}, for any audience: to take tokens of it, say who may come "
            f"in, with an e-mail or domain rule or a claim rule such as {shared.example}"
        )


def _token_claims(spec: PolicySpec) -> Iterator[str]:
    for jwt in spec.jwt[:MAX_TOKEN_ISSUERS]:
        shared = shared_issuer(jwt.issuer)
        if shared is not None and not narrows(jwt.claims, shared):
            text = f"{jwt.issuer} signs for {shared.who}: say whose tokens you mean with a claim rule such as "
            yield text + shared.example


_RULES: tuple[tuple[str, Callable[[PolicySpec], Iterator[str]]], ...] = (
    ("basic_auth", _one_proof),
    ("oidc.request_params", _params),
    ("oidc.audience", _audience),
    ("oidc.bearer", _programs),
    ("jwt.issuer", _issuers),
    ("jwt.claims", _token_claims),
)
