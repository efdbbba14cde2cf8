"""The fields of an edge's modules, as `tunnel api` sends them. Only data; the commands are in `api_table`."""

from tunnelctl.cli.api_fields import Field, many, text

BACKEND = (
    Field("enabled", "switch", "Whether anybody serves."),
    Field("backend_id", "nullable", "The tunnel group; empty for the tunnels that join this very edge."),
    Field("sticky", "switch", "A visitor stays with one tunnel."),
)
IP_RESTRICTION = (
    Field("enabled", "switch", "Whether it is in force."),
    many("allow", "Networks visitors may come from."),
    many("deny", "Networks they may not come from."),
)
HEADERS = (
    Field("enabled", "switch", "Whether it is in force."),
    Field("add", "pairs", "Header to add."),
    many("remove", "Name of a header to remove."),
)
OIDC = (
    Field("enabled", "switch", "Whether it is in force."),
    text("issuer", "The provider's issuer URL, or @name of one the relay knows."),
    text("client_id", "Client id at the provider."),
    Field("client_secret", "secret", "Client secret: env:NAME, file:PATH, -, or itself."),
    many("scopes", "Scope to ask for."),
    many("allow_emails", "Verified address that is let in."),
    many("allow_domains", "Domain of verified addresses that are let in."),
    many("allow_groups", "Group whose members are let in."),
    Field("allow_claims", "claims", "Claim whose holders are let in."),
    Field("inactivity_timeout", "number", "Seconds until an unused login is over."),
    Field("maximum_duration", "number", "Seconds until any login is over."),
    Field("auth_check_interval", "number", "Seconds until the provider is asked again; 0 for never."),
    text("on_recheck_error", "Visitors while it cannot be asked: keep, login or 502."),
    text("groups_claim", "Claim that lists groups."),
    text("email_verified", "When an address counts as verified: claim, text or assumed."),
    Field("request_params", "pairs", "Parameter for the provider's login page."),
    many("require_acr", "How the login must be made."),
    text("callback", "Where visitors come back to: relay, shared or host."),
    many("bearer", "Audience of programs' tokens."),
    many("allow_origins", "Site whose pages may use a visitor's login."),
    Field("options_passthrough", "switch", "CORS preflights need no login."),
)
JWT = (
    Field("enabled", "switch", "Whether it is in force."),
    Field("issuers", "objects", 'Issuer whose tokens open: {"issuer": …, "audience": …, "claims": […]}.'),
)
BASIC_AUTH = (
    Field("enabled", "switch", "Whether it is in force."),
    Field("credentials", "secrets", "user:password: env:NAME, file:PATH, or itself."),
)
