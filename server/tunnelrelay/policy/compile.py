"""Compiles the rules that an agent asks for to a `Policy`, or reports all problems in them.

Unclear rules are refused: an endpoint must never be more open than its owner meant. `tunnelctl/policy` has the checks
that agent and relay share; this module has those that only the relay can make.
"""

import hmac
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

import msgspec

from tunnelctl.policy.check import check_policy
from tunnelctl.policy.describe import describe
from tunnelctl.policy.fields import MIN_LOCAL_RECHECK, MIN_RECHECK
from tunnelctl.policy.rate import parse_rate
from tunnelctl.policy.values import host_header
from tunnelctl.wire.messages import PolicySpec, RateLimitSpec
from tunnelctl.wire.problem import Problem, joined
from tunnelrelay.policy.bearer import compile_bearer
from tunnelrelay.policy.connections import (
    RefusesIssuer,
    calls_any,
    compile_connection,
    compile_origins,
    issuer_problems,
    origin_problems,
)
from tunnelrelay.policy.edits import compile_edit, request_edit_problems, response_edit_problems
from tunnelrelay.policy.exemptions import compile_exemptions
from tunnelrelay.policy.named_provider import Resolve, knows_none, names_provider
from tunnelrelay.policy.networks import Networks
from tunnelrelay.policy.own_address import DEFAULT_PORTS, own_address
from tunnelrelay.policy.rate_limit import SECOND, RateLimit
from tunnelrelay.policy.rules import Policy


class PolicyInvalid(Exception):
    """The rules cannot be compiled because they are invalid.

    Attributes:
        problems: All mistakes in the rules.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(joined(problems))
        self.problems = problems


def compile_policy(
    spec: PolicySpec,
    *,
    upstream: str,
    owner: str,
    key: bytes,
    is_local: bool = False,
    resolve: Resolve = knows_none,
    refuses_issuer: RefusesIssuer = calls_any,
    is_kept: bool = False,
    run_token_sha256: bytes = b"",
) -> Policy:
    """Compile the rules of an endpoint to its policy.

    Args:
        upstream: URL of the local service.
        owner: Owner of the endpoint. Connections of different owners get different ids, except for named providers.
        key: Secret of this relay that does not change across restarts.
        is_local: The relay serves its own machine only.
        resolve: Function that resolves named providers.
        refuses_issuer: Function that decides which providers this relay may call.
        is_kept: The passwords come from the store and may be shorter than the minimum, as older releases had none.
        run_token_sha256: As in `Bearer`.

    Raises:
        PolicyInvalid: Lists all problems.
    """
    size = len(msgspec.json.encode(spec))
    spec = _with_provider(spec, owner, resolve)
    problems = check_policy(
        spec, min_recheck=MIN_LOCAL_RECHECK if is_local else MIN_RECHECK, allows_short_passwords=is_kept
    )
    problems += _relay_problems(spec, upstream, refuses_issuer)
    if problems:
        raise PolicyInvalid(problems)
    oidc = spec.oidc
    connection = None if oidc is None else compile_connection(oidc, owner=owner, key=key)
    basic_key = hmac.digest(key, b"basic-auth", "sha256")
    host = _host_sent(spec, upstream)
    return Policy(
        cidr_allow=Networks(map(ip_network, spec.cidr_allow)),
        cidr_deny=Networks(map(ip_network, spec.cidr_deny)),
        basic=frozenset(hmac.digest(basic_key, pair.encode(), "sha256") for pair in spec.basic_auth),
        basic_key=basic_key,
        connection=connection,
        bearer=compile_bearer(spec, connection, owner=owner, key=key, run_token_sha256=run_token_sha256),
        origins=frozenset() if oidc is None else compile_origins(oidc),
        exemptions=compile_exemptions(oidc),
        rate_limit=None if spec.rate_limit is None else _rate_limit(spec.rate_limit),
        host_header=None if host is None else host.encode(),
        own=None if host is None else own_address(host, upstream),
        request_edit=compile_edit(spec.request_headers),
        response_edit=compile_edit(spec.response_headers, is_private=bool(oidc or spec.jwt)),
        words=describe(spec),
        size=size,
    )


def _relay_problems(spec: PolicySpec, upstream: str, refuses_issuer: RefusesIssuer) -> Iterator[Problem]:
    """Yield the problems that only the relay can find."""
    if spec.oidc is not None:
        yield from issuer_problems(spec.oidc.issuer, "oidc.issuer", refuses_issuer)
        yield from origin_problems(spec.oidc)
    for jwt in spec.jwt:
        yield from issuer_problems(jwt.issuer, "jwt.issuer", refuses_issuer)
    yield from request_edit_problems(spec.request_headers)
    yield from response_edit_problems(spec.response_headers)
    if spec.host_header == "rewrite" and (text := host_header(_host_sent(spec, upstream) or "")):
        yield Problem("host_header", text)


def _with_provider(spec: PolicySpec, owner: str, resolve: Resolve) -> PolicySpec:
    """Return the policy with a named provider's settings filled in.

    Raises `PolicyInvalid` when the provider cannot be resolved, so that an endpoint never loses its login.
    """
    if spec.oidc is None or not names_provider(spec):
        return spec
    found = resolve(owner, spec.oidc)
    if isinstance(found, Problem):
        raise PolicyInvalid([found])
    return msgspec.structs.replace(spec, oidc=found)


def _rate_limit(spec: RateLimitSpec) -> RateLimit:
    rate = parse_rate(spec.limit)
    interval = rate.seconds * SECOND // rate.requests
    return RateLimit(interval=interval, burst=rate.burst, is_by_visitor=spec.by == "visitor")


def _host_sent(spec: PolicySpec, upstream: str) -> str | None:
    """Return the Host to send to the upstream; None for the visitor's."""
    return _upstream_host(upstream) if spec.host_header == "rewrite" else spec.host_header


def _upstream_host(upstream: str) -> str:
    """Return the Host that a browser would send for this URL; "" when it is not a URL."""
    try:
        url = urlsplit(upstream)
        port = url.port
    except ValueError:
        return ""
    host = url.netloc.rpartition("@")[2]
    return host.rpartition(":")[0] if port == DEFAULT_PORTS.get(url.scheme) and port is not None else host
