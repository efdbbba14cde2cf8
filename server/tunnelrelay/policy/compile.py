"""From what an agent asked for to a `Policy`, or to every reason why not.

Anything unclear is refused: an endpoint must never be more open than its owner meant it to be.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Network, ip_network
from urllib.parse import urlsplit

import msgspec

from tunnelctl.wire.messages import MIN_PASSWORD, PolicySpec
from tunnelctl.wire.problem import MAX_PROBLEMS, Problem, joined
from tunnelrelay.policy.bearer import compile_bearer
from tunnelrelay.policy.connections import RefusesIssuer, calls_any, compile_connection
from tunnelrelay.policy.edits import compile_request_edit, compile_response_edit
from tunnelrelay.policy.login_options import origins_of
from tunnelrelay.policy.named_provider import Resolve, is_named, knows_none
from tunnelrelay.policy.networks import Network, Networks
from tunnelrelay.policy.own_address import DEFAULT_PORTS, own_address
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.words import words_for

_HOST_HEADER = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")
MAX_NETWORKS = 1000
"""Of both lists together. Each takes half a kilobyte for as long as the endpoint is there."""


class PolicyInvalid(Exception):
    """The policy asked for cannot be had.

    Attributes:
        problems: Everything that is wrong with it.
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
) -> Policy:
    """Returns what guards the endpoint.

    Args:
        upstream: The local service as a URL.
        owner: Whose endpoint it is; connections of different owners never share an id, but for named providers'.
        key: Secret of this relay that stays the same over restarts.
        is_local: The relay serves its own machine only.
        resolve: Knows the named providers.
        refuses_issuer: Knows which providers this relay calls.
        is_kept: The passwords lie in the store, and may be of a time that knew no shortest one.

    Raises:
        PolicyInvalid: With every problem at once.
    """
    problems: list[Problem] = []
    size = len(msgspec.json.encode(spec))
    spec = _with_provider(spec, owner, resolve)
    if (count := len(spec.cidr_allow) + len(spec.cidr_deny)) > MAX_NETWORKS:
        text = f"{count} networks with those of cidr_deny, expected at most {MAX_NETWORKS}"
        raise PolicyInvalid([Problem("cidr_allow", text)])
    oidc = spec.oidc
    if oidc is not None and spec.basic_auth:
        text = "a password and an OpenID login cannot guard the same endpoint: use one of them"
        problems.append(Problem("oidc", text))
    if spec.jwt and spec.basic_auth:
        problems.append(Problem("basic_auth", "a password and tokens come in the same header field: use one of them"))
    basic_key = hmac.digest(key, b"basic-auth", "sha256")
    connection = (
        None
        if oidc is None
        else compile_connection(
            oidc, owner=owner, key=key, problems=problems, is_local=is_local, refuses_issuer=refuses_issuer
        )
    )
    bearer = compile_bearer(spec, connection, owner=owner, key=key, problems=problems, refuses_issuer=refuses_issuer)
    host_header = _host_header(spec.host_header, upstream, problems)
    policy = Policy(
        cidr_allow=_networks("cidr_allow", spec.cidr_allow, problems),
        cidr_deny=_networks("cidr_deny", spec.cidr_deny, problems),
        basic=_passwords(spec.basic_auth, basic_key, problems, is_kept=is_kept),
        basic_key=basic_key,
        connection=connection,
        bearer=bearer,
        origins=frozenset() if oidc is None else origins_of(oidc.allow_origins, problems),
        allows_preflight=oidc is not None and oidc.allow_preflight,
        host_header=host_header,
        own=None if host_header is None else own_address(host_header.decode(), upstream),
        request_edit=compile_request_edit(spec.request_headers, problems),
        response_edit=compile_response_edit(spec.response_headers, private=bool(oidc or spec.jwt), problems=problems),
    )
    if problems:
        raise PolicyInvalid(problems)
    return replace(policy, words=words_for(policy), size=size)


def _with_provider(spec: PolicySpec, owner: str, resolve: Resolve) -> PolicySpec:
    """The same with a named provider filled in. Raises `PolicyInvalid` when it cannot be: never without its login."""
    if spec.oidc is None or not is_named(spec.oidc):
        return spec
    found = resolve(owner, spec.oidc)
    if isinstance(found, Problem):
        raise PolicyInvalid([found])
    return msgspec.structs.replace(spec, oidc=found)


def _networks(field: str, texts: Iterable[str], problems: list[Problem]) -> Networks:
    networks: list[Network] = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError:
            hint = _network_hint(text) if len(problems) < MAX_PROBLEMS else ""  # more are not told
            problems.append(Problem(field, f"{text[:64]!r} is not a network{hint}"))
            continue
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            # Visitors with such an address are judged by the IPv4 address in it: the rule would never match.
            problems.append(Problem(field, f"{text!r} stands for IPv4 addresses: write the IPv4 network"))
        networks.append(network)
    return Networks(networks)


def _network_hint(text: str) -> str:
    try:
        return f": did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return " such as 10.0.0.0/8 or 2001:db8::/32"


def short_passwords(pairs: Iterable[str]) -> list[Problem]:
    """Says which `user:password` pairs have too short a password."""
    return [
        Problem("basic_auth", f"the password of pair {number} has {len(password)} characters, at least {MIN_PASSWORD}")
        for number, (_, _, password) in enumerate((pair.partition(":") for pair in pairs), 1)
        if 0 < len(password) < MIN_PASSWORD
    ]


def _passwords(pairs: tuple[str, ...], key: bytes, problems: list[Problem], *, is_kept: bool) -> frozenset[bytes]:
    if not is_kept:
        problems += short_passwords(pairs)
    digests = set()
    for number, pair in enumerate(pairs, 1):
        user, _, password = pair.partition(":")
        if not user or not password or not pair.isprintable():
            # Never the pair itself: it is a secret.
            problems.append(Problem("basic_auth", f"pair {number} is not USER:PASSWORD"))
            continue
        digests.add(hmac.digest(key, pair.encode(), "sha256"))
    return frozenset(digests)


def _host_header(asked: str | None, upstream: str, problems: list[Problem]) -> bytes | None:
    if asked is None:
        return None
    host = _upstream_host(upstream) if asked == "rewrite" else asked
    if not _HOST_HEADER.fullmatch(host):
        problems.append(Problem("host_header", f"{host[:64]!r} is not a host name"))
        return None
    return host.encode()


def _upstream_host(upstream: str) -> str:
    """What a browser would send as Host for this URL; "" when it is none."""
    try:
        url = urlsplit(upstream)
        port = url.port
    except ValueError:
        return ""
    host = url.netloc.rpartition("@")[2]
    return host.rpartition(":")[0] if port == DEFAULT_PORTS.get(url.scheme) and port is not None else host
