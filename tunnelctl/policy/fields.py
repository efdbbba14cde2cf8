"""The table of all settings of a policy: one row for each, with everything that agent and relay need to know about it.

The table gives the flags of `tunnel http` and their help, the keys of the agent's configuration file, the fields of the
API's modules, the dashboard's forms, the checks of agent and relay, and the reference. The value itself is a field of
`PolicySpec` or of a struct in it (`wire/messages.py`), which also has its type and default. Read next: `parse.py`,
which turns typed texts into a `PolicySpec`; `check.py`, which finds the mistakes in a `PolicySpec`.

To add a setting: add a row here, its field in `wire/messages.py`, and the relay's code that uses it (for a login
setting, in `policy/connections.py`). Then regenerate the files that are generated from the table, each with `--write`:
`python -m tests.docs.openapi`, `python -m tests.docs.policy_tables`, `python -m tests.docs.api_reference`, `python -m
tests.docs.api_commands`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tunnelctl.policy import public_paths, values
from tunnelctl.policy.durations import format_duration
from tunnelctl.policy.rate import rate_problem
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec

Kind = Literal[
    "text", "secret", "choice", "switch", "duration", "email", "domain", "pair", "password", "network", "origin",
    "header", "header_name",
]  # fmt: skip
"""The type of one value. In messages to the relay `duration` is seconds, `pair` and `header` are (name, value), all
others are text."""
Section = Literal["Login", "Other rules", "Headers"]
"""Title of the section of `tunnel http --help` and of the reference that lists the setting."""
Card = Literal["", "Identity provider", "Who may pass", "Sessions", "More"]
"""Card of the dashboard form that contains the setting; "" in a form of one card, and for settings without a form."""

MAX_SESSION = 30 * 24 * 3600
"""Maximum seconds of a login session."""
MIN_RECHECK = 10
"""Minimum seconds between checks of a session at the provider; more frequent checks would only load the provider."""
MIN_LOCAL_RECHECK = 1
"""Minimum seconds between checks of a session at the provider, at a relay that serves its own machine only, where users
experiment and want to see the effect."""
MAX_ISSUER, MAX_CLIENT_ID = 2048, 1024
"""Maximum characters of an issuer, and of a client id. Each session stores both."""
MAX_TOKEN_TEXT = 512
"""Maximum characters of an audience, or of a token claim's name or value."""
MAX_TOKEN_ISSUERS, MAX_AUDIENCES, MAX_CLAIM_RULES = 8, 16, 32
"""Maximum number of token issuers, of audiences per issuer, and of claim rules per issuer. All are compared for every
token."""
MAX_REQUEST_PARAMS = 16
MAX_NETWORKS = 1000
"""Maximum networks in both lists together. Each takes half a kilobyte while the endpoint exists."""
API_LIST, API_RULES = 100, 1000
"""Maximum entries of a list in the API; the second number is for lists of users or networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyField:
    """One setting of a policy, a row of the table.

    Attributes:
        path: Place of the setting in `PolicySpec`, with dots, as in `Problem.field`: `oidc.allow_emails`. A path in
            `jwt` stands for that field of each `JwtSpec`.
        kind: Type of one value.
        is_list: The setting may have several values.
        check: Function that takes one value in the form of the wire messages and returns what is wrong with it, or "".
        choices: Allowed words, each with its text in a form.
        low, high: Limits of a duration in seconds; 0 below `low` is allowed if `is_zero_never`.
        is_zero_never: The value 0 means never.
        max_length: Maximum characters of one text; None where `check` or the size of a message limits it.
        max_count: Maximum values of a list, at agent and relay; None where only the size of a message limits them.

        flag: Flag of `tunnel http`.
        metavar: Placeholder of the flag's value in the help.
        section: Section of the help and the reference that lists the flag.
        help: Description in one sentence: for `--help`, the reference, the API and the form's hint.
        more: Further sentences, for the reference only.
        default: The default in words, where it differs from the struct's or is not visible there.
        has_variable: An environment variable may replace the flag; see `variable`.
        key: Key in the agent's configuration file, with dots; "" where the file has none.

        module: Module of the API, and of an edge's settings; "" for a field of the edge itself.
        api_name: Name of the setting in that module.
        is_marked_as_module: Problems with the setting are shown at the module as a whole.
        api_length, api_count: Maximum characters of a text, and maximum entries of a list, in the API.
        api_is_object: The API has pairs as an object, in which each name has one value; otherwise as a list of objects.

        label: Label in a form; "" for settings without a form.
        card: Card of the form.
        hint: Text below the field of the form, where `help` does not fit.
        placeholder: Example shown in an empty field.
        is_area: The form has a text area with one value a line.

        is_of_provider: The setting is about the communication with the provider. Not allowed with a named provider
            (`@name`), for which the relay's operator has set it.
    """

    path: str
    kind: Kind = "text"
    is_list: bool = False
    check: Callable[[Any], str] = values.anything
    choices: tuple[tuple[str, str], ...] = ()
    low: int = 0
    high: int = 0
    is_zero_never: bool = False
    max_length: int | None = None
    max_count: int | None = None

    flag: str
    metavar: str = ""
    section: Section
    help: str
    more: str = ""
    default: str = ""
    has_variable: bool = False
    key: str = ""

    module: str = ""
    api_name: str
    is_marked_as_module: bool = False
    api_length: int = 255
    api_count: int = API_LIST
    api_is_object: bool = False

    label: str = ""
    card: Card = ""
    hint: str = ""
    placeholder: str = ""
    is_area: bool = False

    is_of_provider: bool = False

    @property
    def part(self) -> str:
        """The field of `PolicySpec` that contains the setting, such as `oidc`."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """Name of the setting in the struct that contains it, such as `allow_emails`."""
        return self.path.rpartition(".")[2]

    @property
    def parameter(self) -> str:
        """Name of the flag's parameter in click, such as `oidc_allow_email`."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable that may replace the flag; "" without one."""
        return f"TUNNELCTL_{self.parameter.upper()}" if self.has_variable else ""

    @property
    def pointer(self) -> str:
        """Field at which the API and the dashboard show a problem with the setting, such as
        `oidc.inactivity_timeout`.
        """
        if self.is_marked_as_module or not self.module:
            return self.module or self.api_name
        return f"{self.module}.{self.api_name}"

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.kind in ("secret", "password", "header")

    @property
    def is_optional(self) -> bool:
        """Whether a form may leave the field empty."""
        return self.is_list or default_of(self) == ""

    @property
    def words(self) -> tuple[str, ...]:
        """The allowed words of a setting with choices."""
        return tuple(word for word, _ in self.choices)

    @property
    def default_text(self) -> str:
        """The default value for display; "" when it is not worth mentioning."""
        if self.default or self.is_list or self.kind == "switch":
            return self.default
        value = default_of(self)
        return format_duration(value) if self.kind == "duration" else value or ""


_ADD_HINT = (
    "One Name: value a line. It takes the place of what was sent. "
    "Values are sealed and not shown again; •••••••• keeps one."
)

# fmt: off
FIELDS: tuple[PolicyField, ...] = (
    # Who signs visitors in.
    PolicyField(
        path="oidc.issuer", check=values.issuer_or_name, max_length=MAX_ISSUER,
        flag="--oidc", metavar="ISSUER|@NAME", section="Login", has_variable=True, key="oidc.issuer_url",
        help="OpenID provider at which visitors log in: its issuer URL, or @NAME of one that the relay knows.",
        module="oidc", api_name="issuer",
        label="Issuer URL", card="Identity provider", placeholder="https://login.example.com",
        hint="The provider’s address, as in its discovery document.",
    ),
    PolicyField(
        path="oidc.client_id", check=values.credential, max_length=MAX_CLIENT_ID, is_of_provider=True,
        flag="--oidc-client-id", metavar="ID", section="Login", has_variable=True, key="oidc.client_id",
        help="Client id at the provider.",
        module="oidc", api_name="client_id", label="Client ID", card="Identity provider",
    ),
    PolicyField(
        path="oidc.client_secret", kind="secret", check=values.credential, is_of_provider=True,
        flag="--oidc-client-secret", metavar="SECRET", section="Login", has_variable=True, key="oidc.client_secret",
        help="Client secret at the provider.",
        module="oidc", api_name="client_secret", api_length=1024, label="Client secret", card="Identity provider",
    ),
    PolicyField(
        path="oidc.scopes", is_list=True, check=values.scope, is_of_provider=True,
        flag="--oidc-scope", metavar="SCOPE", section="Login", key="oidc.scopes",
        help="Scope to ask for besides openid, profile and email.",
        module="oidc", api_name="scopes", label="Scopes", card="Identity provider",
        hint="Besides openid, profile and email.", placeholder="groups",
    ),
    # Which signed-in visitors may enter.
    PolicyField(
        path="oidc.allow_emails", kind="email", is_list=True, check=values.email,
        flag="--oidc-allow-email", metavar="EMAIL", section="Login", key="oidc.allow_emails",
        help="Let in a visitor with this verified e-mail address.",
        module="oidc", api_name="allow_emails", api_count=API_RULES,
        label="E-mail addresses", card="Who may pass", hint="One a line; verified addresses only.",
        placeholder="ann@example.com", is_area=True,
    ),
    PolicyField(
        path="oidc.allow_domains", kind="domain", is_list=True, check=values.domain,
        flag="--oidc-allow-domain", metavar="DOMAIN", section="Login", key="oidc.allow_domains",
        help="Let in visitors with a verified e-mail address at exactly this domain.",
        module="oidc", api_name="allow_domains", api_count=API_RULES,
        label="E-mail domains", card="Who may pass", hint="One a line.", placeholder="example.com", is_area=True,
    ),
    PolicyField(
        path="oidc.allow_groups", is_list=True, check=values.filled,
        flag="--oidc-allow-group", metavar="GROUP", section="Login", key="oidc.allow_groups",
        help="Let in members of this group, as the provider names it.",
        module="oidc", api_name="allow_groups", api_count=API_RULES,
        label="Groups", card="Who may pass", hint="One a line, as the provider names them.",
        placeholder="engineering", is_area=True,
    ),
    PolicyField(
        path="oidc.allow_claims", kind="pair", is_list=True, check=values.claim_rule,
        flag="--oidc-allow-claim", metavar="NAME=VALUE", section="Login", key="oidc.allow_claims",
        help="Let in visitors whose claim NAME has this value.",
        module="oidc", api_name="allow_claims",
        label="Claims", card="Who may pass",
        hint='One name=value a line. Quote a "name" with an equals sign, and a "value" that ends in a comma.',
        placeholder="department=platform", is_area=True,
    ),
    PolicyField(
        path="oidc.public_paths", is_list=True, check=public_paths.problem,
        max_length=public_paths.MAX_PUBLIC_PATH, max_count=public_paths.MAX_PUBLIC_PATHS,
        flag="--public-path", metavar="PATH", section="Login", key="oidc.public_paths",
        help="Path that is open without the login: /health, or /webhooks/* for all below it.",
        more="Every other rule holds there too. Quote a `*`, else your shell may expand it. "
        "[Which requests are meant](../concepts/login.md#public-paths).",
        module="oidc", api_name="public_paths",
        api_length=public_paths.MAX_PUBLIC_PATH, api_count=public_paths.MAX_PUBLIC_PATHS,
        label="Public paths", card="Who may pass", hint="One a line. Everyone may open them without the login.",
        placeholder="/webhooks/*", is_area=True,
    ),
    # How long a login is valid.
    PolicyField(
        path="oidc.idle_seconds", kind="duration", low=1, high=MAX_SESSION,
        flag="--oidc-idle-session-duration", metavar="DURATION", section="Login",
        help="End a login that was not used for this long.", more="Like `30m` or `1h30m`.",
        module="oidc", api_name="inactivity_timeout", label="Idle for", card="Sessions", hint="Then sign in again.",
    ),
    PolicyField(
        path="oidc.max_seconds", kind="duration", low=1, high=MAX_SESSION,
        flag="--oidc-max-session-duration", metavar="DURATION", section="Login",
        help="End a login that is this old.",
        module="oidc", api_name="maximum_duration", label="At most", card="Sessions", hint="However busy.",
    ),
    PolicyField(
        path="oidc.recheck_seconds", kind="duration", low=MIN_RECHECK, high=MAX_SESSION, is_zero_never=True,
        flag="--oidc-userinfo-refresh-interval", metavar="DURATION", section="Login",
        help="Ask the provider again who a visitor is this often; 0 for never.",
        more="The rules are applied again then.",
        module="oidc", api_name="auth_check_interval", label="Ask again every", card="Sessions",
        hint="Whether they still may; 0s for never.",
    ),
    PolicyField(
        path="oidc.on_recheck_error", kind="choice",
        choices=(
            ("keep", "keep visitors signed in"), ("login", "make them sign in again"), ("502", "show an error"),
        ),
        flag="--oidc-refresh-error", section="Login",
        help="What to do with visitors while the provider cannot be asked again.",
        more="`keep` keeps them for twice the interval, `login` sends them to log in, `502` shows an error until the "
        "provider answers.",
        module="oidc", api_name="on_recheck_error", label="When the provider does not answer", card="More",
    ),
    # How the login is made, and how the provider's claims are read.
    PolicyField(
        path="oidc.request_params", kind="pair", is_list=True, check=values.request_param,
        max_count=MAX_REQUEST_PARAMS,
        flag="--oidc-request-param", metavar="NAME=VALUE", section="Login",
        help="Add a parameter to the authorization request, such as acr_values, prompt or max_age.",
        more="Never one of the login's own. A `max_age` is also checked in the ID token.",
        module="oidc", api_name="request_params", api_is_object=True,
    ),
    PolicyField(
        path="oidc.audience", check=values.audience, max_length=MAX_TOKEN_TEXT, is_of_provider=True,
        flag="--oidc-audience", metavar="VALUE", section="Login", key="oidc.audience",
        help="API to ask the provider's access token for, sent as audience; Auth0 wants one.",
        more="ID tokens and programs' tokens are checked as without it.",
        module="oidc", api_name="audience", api_length=MAX_TOKEN_TEXT,
        label="API audience", card="More", hint="Sent as audience with each login, as Auth0 asks for.",
        placeholder="https://api.example.com",
    ),
    PolicyField(
        path="oidc.require_acr", is_list=True, check=values.acr,
        flag="--oidc-require-acr", metavar="ACR", section="Login",
        help="Take only logins with this acr; with several, logins with one of them.",
        module="oidc", api_name="require_acr", label="Required acr", card="More",
        hint="How strong a sign-in must be; one of these.",
    ),
    PolicyField(
        path="oidc.groups_claim", check=values.claim_name, is_of_provider=True,
        flag="--oidc-groups-claim", metavar="NAME", section="Login",
        help="Claim that lists a visitor's groups; dots lead into objects.", more="As in `realm_access.roles`.",
        module="oidc", api_name="groups_claim", label="Groups claim", card="More",
        hint="Where the groups are; dots lead into objects.",
    ),
    PolicyField(
        path="oidc.email_verified", kind="choice", is_of_provider=True,
        choices=(
            ("claim", "when the provider says true"), ("text", "also by the text “true”"),
            ("assumed", "unless the provider denies it"),
        ),
        flag="--oidc-email-verified", section="Login",
        help="When an e-mail address counts as verified.",
        more="`claim`: when the provider says `true`; `text`: also when it says `\"true\"`; `assumed`: unless it says "
        "otherwise. Read [who can then claim an address](../guides/entra-id.md#e-mail-and-why-it-is-not-taken) first.",
        module="oidc", api_name="email_verified", label="An e-mail address is verified", card="More",
    ),
    PolicyField(
        path="oidc.callback", kind="choice", is_of_provider=True,
        choices=(
            ("relay", "the relay's own address"), ("shared", "the one address of all owners"),
            ("host", "the endpoint's own host"),
        ),
        flag="--oidc-callback", section="Login",
        help="Where the provider sends visitors back to.",
        more="`shared` is the one address of all owners, `host` the endpoint's own host.",
        module="oidc", api_name="callback",
    ),
    PolicyField(
        path="oidc.allow_origins", kind="origin", is_list=True, check=values.origin,
        flag="--oidc-cross-site", metavar="allow:ORIGIN", section="Login",
        help="Origin of another site whose pages may use a visitor's login here.",
        module="oidc", api_name="allow_origins",
    ),
    PolicyField(
        path="oidc.allow_preflight", kind="switch",
        flag="--oidc-allow-cors-preflight", section="Login",
        help="Let CORS preflights pass without a login.", more="They pass without an identity too.",
        module="oidc", api_name="options_passthrough",
    ),
    # Access for programs.
    PolicyField(
        path="oidc.bearer", is_list=True, check=values.audience_or_client, max_length=MAX_TOKEN_TEXT,
        max_count=MAX_AUDIENCES,
        flag="--oidc-bearer", metavar="[=AUDIENCE]", section="Other rules", default="the client id",
        help="Take the provider's access tokens for this audience instead of a login.",
        more="The rules about people hold for programs too. See [CI and programs](../guides/ci-and-programs.md).",
        module="oidc", api_name="bearer",
    ),
    PolicyField(
        path="jwt.issuer", check=values.issuer, max_length=MAX_ISSUER,
        flag="--jwt-issuer", metavar="ISSUER", section="Other rules",
        help="Take tokens of this issuer from programs, with or without --oidc.",
        more="Without `--oidc` nothing else lets a visitor in. The next two options belong to the `--jwt-issuer` "
        "before them on the command line.",
        module="jwt", api_name="issuer", is_marked_as_module=True,
    ),
    PolicyField(
        path="jwt.audience", check=values.audience, max_length=MAX_TOKEN_TEXT,
        flag="--jwt-audience", metavar="AUDIENCE", section="Other rules",
        help="Audience that tokens of the issuer before it must have.", more="One for each `--jwt-issuer`.",
        module="jwt", api_name="audience", is_marked_as_module=True,
    ),
    PolicyField(
        path="jwt.claims", kind="pair", is_list=True, check=values.token_claim, max_length=MAX_TOKEN_TEXT,
        max_count=MAX_CLAIM_RULES,
        flag="--jwt-claim", metavar="NAME=VALUE", section="Other rules",
        help="Claim that tokens of the issuer before it must have.",
        more="Of each name that is given, one value must match, exactly. Needed for issuers that sign for everybody, "
        "such as GitHub Actions.",
        module="jwt", api_name="claims", is_marked_as_module=True,
    ),
    # Passwords and networks.
    PolicyField(
        path="basic_auth", kind="password", is_list=True, check=values.password,
        flag="--basic-auth", metavar="USER:PASS", section="Other rules", key="basic_auth",
        help="Let in visitors who give this user and password.",
        more="The password has at least 8 characters. Not together with `--oidc`.",
        module="basic_auth", api_name="credentials", is_marked_as_module=True, api_length=256,
        label="User name and password",
    ),
    PolicyField(
        path="cidr_allow", kind="network", is_list=True, check=values.network,
        flag="--cidr-allow", metavar="NET", section="Other rules", key="ip_restriction.allow_cidrs",
        help="Let in visitors from this network, and from no other that is not given too.",
        more="With `--cidr-deny` at most 1,000.",
        module="ip_restriction", api_name="allow", api_length=64, api_count=API_RULES,
        label="Allow", hint="One network or address a line. Empty: from everywhere.",
        placeholder="203.0.113.0/24", is_area=True,
    ),
    PolicyField(
        path="cidr_deny", kind="network", is_list=True, check=values.network,
        flag="--cidr-deny", metavar="NET", section="Other rules", key="ip_restriction.deny_cidrs",
        help="Keep out visitors from this network, even where they are let in otherwise.",
        module="ip_restriction", api_name="deny", api_length=64, api_count=API_RULES,
        label="Deny", hint="Wins over what is allowed.", placeholder="198.51.100.7", is_area=True,
    ),
    # Rate limits.
    PolicyField(
        path="rate_limit.limit", check=rate_problem,
        flag="--rate-limit", metavar="N/PERIOD[:BURST]", section="Other rules", key="rate_limit.limit",
        help="Answer 429 to a visitor who sends more than N requests in PERIOD, or BURST at once.",
        more="As in `100/1m:20` or `10/s`; without BURST all N may come at once. See "
        "[how often visitors may ask](../concepts/limits.md#how-often-visitors-may-ask).",
        module="rate_limit", api_name="limit", api_length=64,
        label="Limit", hint="Requests in a time, and how many of them at once.", placeholder="100/1m:20",
    ),
    PolicyField(
        path="rate_limit.by", kind="choice",
        choices=(("visitor", "who is signed in, else the address"), ("address", "the address")),
        flag="--rate-limit-by", section="Other rules", key="rate_limit.by",
        help="Whom the rate limit counts: the visitor by their login or token, else the address.",
        more="`address` counts by address in any case.",
        module="rate_limit", api_name="by", label="Counted by",
    ),
    # Header fields.
    PolicyField(
        path="host_header", check=values.host_header,
        flag="--host-header", metavar="rewrite|VALUE", section="Headers", default="preserve", key="host_header",
        help="Host that the service sees: rewrite (its own), preserve (the visitor's), or a value.",
        more="With the first and the last, `Origin` and `Referer` of the endpoint's own pages name that host too, and "
        "redirects to it, or to a loopback address, come back as the public address.",
        api_name="host_header",
    ),
    PolicyField(
        path="request_headers.add", kind="header", is_list=True, check=values.header,
        flag="--request-header-add", metavar="'N: V'", section="Headers", key="request_header.add",
        help="Header to add to each request.",
        module="request_headers", api_name="add", label="Add",
        hint=_ADD_HINT, placeholder="X-Environment: staging", is_area=True,
    ),
    PolicyField(
        path="request_headers.remove", kind="header_name", is_list=True, check=values.header_name,
        flag="--request-header-remove", metavar="N", section="Headers", key="request_header.remove",
        help="Header to remove from each request.",
        module="request_headers", api_name="remove", label="Remove", hint="One name a line.",
        placeholder="X-Powered-By", is_area=True,
    ),
    PolicyField(
        path="response_headers.add", kind="header", is_list=True, check=values.header,
        flag="--response-header-add", metavar="'N: V'", section="Headers", key="response_header.add",
        help="Header to add to each response.",
        module="response_headers", api_name="add", label="Add",
        hint=_ADD_HINT, placeholder="X-Environment: staging", is_area=True,
    ),
    PolicyField(
        path="response_headers.remove", kind="header_name", is_list=True, check=values.header_name,
        flag="--response-header-remove", metavar="N", section="Headers", key="response_header.remove",
        help="Header to remove from each response.",
        module="response_headers", api_name="remove", label="Remove", hint="One name a line.",
        placeholder="X-Powered-By", is_area=True,
    ),
)
# fmt: on

BY_PATH: Mapping[str, PolicyField] = {row.path: row for row in FIELDS}
STRUCTS: Mapping[str, type[msgspec.Struct]] = {
    "oidc": OidcSpec,
    "jwt": JwtSpec,
    "rate_limit": RateLimitSpec,
    "request_headers": HeaderEdit,
    "response_headers": HeaderEdit,
}
"""Fields of `PolicySpec` whose values are structs, and the types of those structs."""
_OTHERS = {"weight": ("--weight", "weight"), "labels": ("--label", "labels")}
"""Settings of a tunnel outside the policy that a relay's refusal may name: flag, and key of the agent's configuration
file."""

FLAGS: Mapping[str, str] = {
    "oidc": "--oidc",
    "jwt": "--jwt-issuer",
    **{row.path: row.flag for row in FIELDS},
    **{path: flag for path, (flag, _) in _OTHERS.items()},
}
"""Maps the field of a `Problem` to the flag for it."""
KEYS: Mapping[str, str] = {
    **FLAGS,
    **{row.path: row.key for row in FIELDS if row.key},
    **{path: key for path, (_, key) in _OTHERS.items()},
}
"""Maps the field of a `Problem` to the key of the agent's configuration file, or to the flag where the file has
none."""
POINTERS: Mapping[str, str] = {row.path: row.pointer for row in FIELDS}
"""Maps the field of a `Problem` to the field of the API and of its form; a field that is missing here has the same name
there."""


def of_part(part: str) -> tuple[PolicyField, ...]:
    """Return the settings in one field of `PolicySpec`, in the order of the table."""
    return tuple(row for row in FIELDS if row.part == part)


def default_of(row: PolicyField) -> Any:
    """Return the default value of a setting; None where a value is required."""
    struct = STRUCTS.get(row.part, PolicySpec)
    defaults = struct.__struct_defaults__
    names = struct.__struct_fields__[-len(defaults) :] if defaults else ()
    return dict(zip(names, defaults, strict=True)).get(row.name)


def value_of(policy: PolicySpec, row: PolicyField) -> Any:
    """Return the value of a setting in a policy; None if the policy lacks the struct that contains it.

    Not for settings of `jwt`.
    """
    part = getattr(policy, row.part)
    return part if row.path == row.part or part is None else getattr(part, row.name)
