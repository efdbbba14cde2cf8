"""Compiles an owner's OpenID Connect settings to a `Connection`.

Ids are keyed digests of the canonical settings: after a restart of agent or relay with equal settings all logins remain
valid, and without the key other owners' ids cannot be computed.
"""

import hmac
from base64 import b32encode
from collections.abc import Callable, Iterable, Iterator

from tunnelctl.policy import values
from tunnelctl.policy.check import check_policy
from tunnelctl.policy.fields import MIN_LOCAL_RECHECK, MIN_RECHECK
from tunnelctl.policy.named import is_named
from tunnelctl.secret import Secret
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.policy.named_provider import NamedOidc
from tunnelrelay.policy.rules import Connection, Rules

ID_LENGTH = 26
"""Characters of an id in base32: 130 bits, so that two connections never have equal ids."""

RefusesIssuer = Callable[[str], str]
"""Type of functions that return why the relay may not call an issuer's provider; "" when it may."""

_DEFAULT_SCOPES = ("openid", "profile", "email")


def calls_any(issuer: str) -> str:
    """Allow every issuer; a `RefusesIssuer`."""
    return ""


def connection_problems(
    spec: OidcSpec, *, is_local: bool = False, refuses_issuer: RefusesIssuer = calls_any
) -> list[Problem]:
    """Return the problems of a login that is not part of an endpoint's rules; empty when there are none."""
    min_recheck = MIN_LOCAL_RECHECK if is_local else MIN_RECHECK
    problems = check_policy(PolicySpec(oidc=spec), min_recheck=min_recheck)
    return [*problems, *issuer_problems(spec.issuer, "oidc.issuer", refuses_issuer)]


def issuer_problems(issuer: str, field: str, refuses_issuer: RefusesIssuer = calls_any) -> Iterator[Problem]:
    """Yield why the relay may not call an issuer that passed `check_policy`.

    Only the issuer's text is checked. The SSRF guard checks the IP addresses when the issuer is called.
    """
    if text := values.issuer(issuer):
        if is_named(issuer):  # an unresolved name of a provider
            yield Problem(field, text)
    elif refusal := refuses_issuer(issuer):
        yield Problem(field, f"this relay does not call the issuer {issuer[:128]}: {refusal}")


def origin_problems(spec: OidcSpec) -> Iterator[Problem]:
    """Yield the origins with a host name that no browser would send."""
    for text in spec.allow_origins:
        if not values.origin(text):
            try:
                _origin(text)
            except ValueError:
                yield Problem("oidc.allow_origins", f"{text[:128]!r} has no host name that browsers know")


def compile_origins(spec: OidcSpec) -> frozenset[bytes]:
    """Return the owner's trusted origins as browsers write them in `Origin`: scheme, host, and port unless it is the
    default.
    """
    return frozenset(map(_origin, spec.allow_origins))


def _origin(text: str) -> bytes:
    """Return an origin as browsers write it. Raises ValueError when its host name is invalid for them."""
    import httpx  # imported late: it takes a fifth of the start of `tunnelrelay token`, which needs no origins

    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    return f"{url.scheme}://{url.raw_host.decode('ascii')}{'' if url.port is None else f':{url.port}'}".encode()


def compile_connection(spec: OidcSpec, *, owner: str, key: bytes) -> Connection:
    """Compile the settings of a login that passed all checks to a connection."""
    rules = rules_of(spec)
    scopes = tuple(dict.fromkeys((*_DEFAULT_SCOPES, *spec.scopes)))
    max_age = dict(spec.request_params).get("max_age")
    return Connection(
        id=connection_id(spec, owner=owner, key=key),
        issuer=spec.issuer,
        client_id=spec.client_id,
        client_secret=Secret(spec.client_secret),
        scopes=scopes,
        rules=rules,
        idle_seconds=spec.idle_seconds,
        max_seconds=spec.max_seconds,
        epoch=digest(
            key,
            "epoch",
            (spec.issuer, spec.client_id, spec.client_secret, *sorted(scopes), *_canonical_options(spec)),
        ),
        rules_version=digest(key, "rules", _canonical_rules(rules)),
        recheck_seconds=spec.recheck_seconds,
        on_recheck_error=spec.on_recheck_error,
        groups_claim=spec.groups_claim,
        email_verified=spec.email_verified,
        request_params=_request_params(spec),
        required_acr=frozenset(spec.require_acr),
        max_age=None if max_age is None else int(max_age),
        callback=spec.callback,
        bearer=frozenset(audience or spec.client_id for audience in spec.bearer),
        owner=owner,
        provider=spec.provider if isinstance(spec, NamedOidc) else "",
    )


def connection_id(spec: OidcSpec, *, owner: str, key: bytes) -> str:
    """Return the id of the connection that a spec is compiled to."""
    if isinstance(spec, NamedOidc):
        return digest(key, "named connection", (spec.provider, spec.issuer, spec.client_id))
    return digest(key, "connection", (owner, spec.issuer, spec.client_id))


def without_client(connection_id: str, issuer: str, *, owner: str = "") -> Connection:
    """Return a connection for an issuer of tokens, without a client: the relay fetches its keys, but there are no
    logins.
    """
    return Connection(
        id=connection_id,
        issuer=issuer,
        client_id="",
        client_secret=Secret(""),
        scopes=(),
        rules=Rules(),
        idle_seconds=0,
        max_seconds=0,
        epoch="",
        rules_version="",
        owner=owner,
    )


def digest(key: bytes, purpose: str, texts: Iterable[str]) -> str:
    """Return a keyed digest of a list of texts: 26 characters of lower-case base32.

    Each text is preceded by its length, so that different lists never give the same bytes.
    """
    parts = [text.encode("utf-8", "surrogatepass") for text in (purpose, *texts)]
    message = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return b32encode(hmac.digest(key, message, "sha256")).decode().lower()[:ID_LENGTH]


def rules_of(spec: OidcSpec) -> Rules:
    """Return the rules about which of the provider's users may enter."""
    return Rules(
        emails=frozenset(text.strip().lower() for text in spec.allow_emails),
        domains=frozenset(text.strip().lower().removeprefix("@") for text in spec.allow_domains),
        groups=frozenset(spec.allow_groups),
        claims=frozenset(spec.allow_claims),
    )


def _request_params(spec: OidcSpec) -> tuple[tuple[str, str], ...]:
    """Return the parameters added to the authorization request. The audience in them is not used to check tokens."""
    return (*spec.request_params, *((("audience", spec.audience),) if spec.audience else ()))


def _canonical_options(spec: OidcSpec) -> list[str]:
    """Return the options of a login in canonical form; empty without any."""
    return [
        *(f"param {len(name)} {name} {value}" for name, value in sorted(_request_params(spec))),
        *(f"acr {acr}" for acr in sorted(spec.require_acr)),
        *(f"groups {spec.groups_claim}" for _ in range(spec.groups_claim != "groups")),
        *(f"email {spec.email_verified}" for _ in range(spec.email_verified != "claim")),
    ]


def _canonical_rules(rules: Rules) -> list[str]:
    return [
        *(f"email {email}" for email in sorted(rules.emails)),
        *(f"domain {domain}" for domain in sorted(rules.domains)),
        *(f"group {group}" for group in sorted(rules.groups)),
        *(f"claim {len(name)} {name} {value}" for name, value in sorted(rules.claims)),
    ]
