"""The options that guard and shape a tunnel, as people write them. What they mean is in `rules.py`."""

from dataclasses import dataclass, field

JWT_ISSUER, JWT_AUDIENCE, JWT_CLAIM = "--jwt-issuer", "--jwt-audience", "--jwt-claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The options that guard and shape a tunnel, each as its flag takes it.

    Attributes:
        oidc: Issuer.
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
    request_add: tuple[str, ...] = ()
    request_remove: tuple[str, ...] = ()
    response_add: tuple[str, ...] = ()
    response_remove: tuple[str, ...] = ()
