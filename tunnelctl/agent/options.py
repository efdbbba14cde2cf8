"""The options that guard and shape a tunnel, as people write them. What they mean is in `rules.py`."""

from dataclasses import dataclass, field, fields

JWT_ISSUER, JWT_AUDIENCE, JWT_CLAIM = "--jwt-issuer", "--jwt-audience", "--jwt-claim"

OIDC_FLAGS = {
    "oidc_client_id": "--oidc-client-id",
    "oidc_client_secret": "--oidc-client-secret",
    "oidc_scope": "--oidc-scope",
    "oidc_allow_email": "--oidc-allow-email",
    "oidc_allow_domain": "--oidc-allow-domain",
    "oidc_allow_group": "--oidc-allow-group",
    "oidc_allow_claim": "--oidc-allow-claim",
    "oidc_idle": "--oidc-idle-session-duration",
    "oidc_max": "--oidc-max-session-duration",
    "oidc_recheck": "--oidc-userinfo-refresh-interval",
    "oidc_recheck_error": "--oidc-refresh-error",
    "oidc_groups_claim": "--oidc-groups-claim",
    "oidc_email_verified": "--oidc-email-verified",
    "oidc_request_param": "--oidc-request-param",
    "oidc_require_acr": "--oidc-require-acr",
    "oidc_callback": "--oidc-callback",
    "oidc_cross_site": "--oidc-cross-site",
    "oidc_allow_preflight": "--oidc-allow-cors-preflight",
    "oidc_bearer": "--oidc-bearer",
}
"""Every option that is of no use without `--oidc`, and its flag."""
FLAGS = {
    "oidc": "--oidc",
    **OIDC_FLAGS,
    "jwt": JWT_ISSUER,
    "basic_auth": "--basic-auth",
    "cidr_allow": "--cidr-allow",
    "cidr_deny": "--cidr-deny",
    "host_header": "--host-header",
    "request_add": "--request-header-add",
    "request_remove": "--request-header-remove",
    "response_add": "--response-header-add",
    "response_remove": "--response-header-remove",
}
"""Every option and its flag."""

RELAYS_NAMES = {
    "oidc": "--oidc",
    "oidc.issuer": "--oidc",
    "oidc.client_id": "--oidc-client-id",
    "oidc.client_secret": "--oidc-client-secret",
    "oidc.scopes": "--oidc-scope",
    "oidc.allow_emails": "--oidc-allow-email",
    "oidc.allow_domains": "--oidc-allow-domain",
    "oidc.allow_groups": "--oidc-allow-group",
    "oidc.allow_claims": "--oidc-allow-claim",
    "oidc.idle_seconds": "--oidc-idle-session-duration",
    "oidc.max_seconds": "--oidc-max-session-duration",
    "oidc.recheck_seconds": "--oidc-userinfo-refresh-interval",
    "oidc.on_recheck_error": "--oidc-refresh-error",
    "oidc.groups_claim": "--oidc-groups-claim",
    "oidc.email_verified": "--oidc-email-verified",
    "oidc.request_params": "--oidc-request-param",
    "oidc.require_acr": "--oidc-require-acr",
    "oidc.callback": "--oidc-callback",
    "oidc.bearer": "--oidc-bearer",
    "oidc.allow_origins": "--oidc-cross-site",
    "oidc.allow_preflight": "--oidc-allow-cors-preflight",
    "jwt": JWT_ISSUER,
    "jwt.issuer": JWT_ISSUER,
    "jwt.audience": JWT_AUDIENCE,
    "jwt.claims": JWT_CLAIM,
    "basic_auth": "--basic-auth",
    "cidr_allow": "--cidr-allow",
    "cidr_deny": "--cidr-deny",
    "host_header": "--host-header",
    "request_headers.add": "--request-header-add",
    "request_headers.remove": "--request-header-remove",
    "response_headers.add": "--response-header-add",
    "response_headers.remove": "--response-header-remove",
    "weight": "--weight",
    "labels": "--label",
}
"""What a relay calls a setting in a refusal, and the flag that was typed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The options that guard and shape a tunnel, each as its flag takes it.

    Attributes:
        oidc: Issuer, or `@name` of a provider that the relay knows.
        oidc_client_secret: Already read, not a form of it.
        oidc_allow_claim, oidc_request_param: `NAME=VALUE`.
        oidc_idle, oidc_max, oidc_recheck: Durations like `1h30m`; "" for the default; `oidc_recheck` takes 0 too.
        oidc_recheck_error, oidc_email_verified, oidc_callback: One of the words of `OidcSpec`, "" for the default.
        oidc_cross_site: `allow:ORIGIN,…`.
        oidc_bearer: Audiences; "" stands for the client id.
        jwt: `--jwt-issuer`, `--jwt-audience` and `--jwt-claim`, each with its value, in the order in which they were
            typed: the latter two belong to the issuer before them.
        basic_auth: `USER:PASS`.
        host_header: `rewrite`, `preserve`, a value, or "" for `preserve`.
        request_add, response_add: `Name: value`.
    """

    oidc: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_scope: tuple[str, ...] = ()
    oidc_allow_email: tuple[str, ...] = ()
    oidc_allow_domain: tuple[str, ...] = ()
    oidc_allow_group: tuple[str, ...] = ()
    oidc_allow_claim: tuple[str, ...] = ()
    oidc_idle: str = ""
    oidc_max: str = ""
    oidc_recheck: str = ""
    oidc_recheck_error: str = ""
    oidc_groups_claim: str = ""
    oidc_email_verified: str = ""
    oidc_request_param: tuple[str, ...] = ()
    oidc_require_acr: tuple[str, ...] = ()
    oidc_callback: str = ""
    oidc_cross_site: tuple[str, ...] = ()
    oidc_allow_preflight: bool = False
    oidc_bearer: tuple[str, ...] = ()
    jwt: tuple[tuple[str, str], ...] = ()
    basic_auth: tuple[str, ...] = field(default=(), repr=False)
    cidr_allow: tuple[str, ...] = ()
    cidr_deny: tuple[str, ...] = ()
    host_header: str = ""
    request_add: tuple[str, ...] = field(default=(), repr=False)
    request_remove: tuple[str, ...] = ()
    response_add: tuple[str, ...] = field(default=(), repr=False)
    response_remove: tuple[str, ...] = ()

    def given(self) -> list[str]:
        """The flags of those that say something, in order."""
        named = ((one.name, FLAGS[one.name]) for one in fields(self))
        return [flag for name, flag in named if getattr(self, name)]
