"""Every command of `tunnel api`: group, verb, path and fields, named as ngrok names those it has too. Only data.

A test holds the table to the API's own schema: no operation without a command, no field that is not there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tunnelctl.cli.api_fields import Field, many, text
from tunnelctl.cli.api_modules import BACKEND, BASIC_AUTH, HEADERS, IP_RESTRICTION, JWT, OIDC


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One command.

    Attributes:
        verb: What is typed.
        method: Of the request.
        path: In the API; what stands in braces is typed as an argument.
        words: What it does.
        body: Fields of the JSON that is sent.
        query: Fields of the query.
    """

    verb: str
    method: str
    path: str
    words: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the ids in the path, in order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def is_paged(self) -> bool:
        """Whether the list it gives can go on in further answers."""
        return BEFORE in self.query


@dataclass(frozen=True, slots=True)
class Group:
    """Commands about one kind of thing.

    Attributes:
        words: What it is, in one line.
        name: What is typed, subgroups after blanks: `edges https`.
    """

    name: str
    words: str
    operations: tuple[Operation, ...]


def below(prefix: str, fields: Iterable[Field]) -> tuple[Field, ...]:
    """The same fields inside an object."""
    return tuple(replace(field, name=f"{prefix}.{field.name}") for field in fields)


DESCRIPTION = text("description", "For people.")
METADATA = text("metadata", "For your programs.")
WORDS = (DESCRIPTION, METADATA)
OWNER = text("owner", "Whose it is; administrators only, yours by default.")
EXPIRES = Field("expires_at", "nullable", "When it ends, as 2026-01-31T12:00:00Z; empty for never.")
LIMIT = Field("limit", "number", "Items of one answer, 100 at most.")
BEFORE = text("before_id", "Go on behind this id.")
PAGE = (BEFORE, LIMIT)
HOST = text("host", "Only at this host.")

MODULES: dict[str, tuple[str, tuple[Field, ...]]] = {
    "backend": ("who serves the edge", BACKEND),
    "oidc": ("who signs visitors in, and who of them is let in", OIDC),
    "ip_restriction": ("where visitors may come from", IP_RESTRICTION),
    "request_headers": ("headers on the way to the app", HEADERS),
    "response_headers": ("headers on the way back", HEADERS),
    "jwt": ("tokens of programs", JWT),
    "basic_auth": ("passwords", BASIC_AUTH),
}
"""Name in the API, what it says, and its fields."""
ROUTE = (
    text("match", "Only `/` is offered."),
    text("match_type", "Only path_prefix is offered."),
    Field("host_header", "nullable", "Host that the app is sent; empty for the visitor's."),
    *WORDS,
    *(field for name, (_, fields) in MODULES.items() for field in below(name, fields)),
)
NEW_EDGE = (
    many("hostports", "Host it answers at, as shop.tun.example:443; empty for none."),
    *(field for field in ROUTE if field.name not in ("match", "match_type")),
)
"""An edge with everything that guards it, made by one call."""
EDGE = (many("hostports", "Host it answers at, as shop.tun.example:443; empty for none."), *WORDS)
PROVIDER = (
    text("issuer", "Issuer URL."),
    text("client_id", "Client id there."),
    Field("client_secret", "secret", "Client secret: env:NAME, file:PATH, -, or itself."),
    many("scopes", "Scope to ask for."),
    text("groups_claim", "Claim that lists groups."),
    text("email_verified", "When an address counts as verified: claim, text or assumed."),
    Field("request_params", "pairs", "Parameter for the provider's login page."),
    text("callback", "Where visitors come back to: relay or shared."),
    many("owners", "Who may name it; empty for everybody."),
    *WORDS,
)


def _list(path: str, words: str, *query: Field) -> Operation:
    return Operation(verb="list", method="GET", path=path, words=words, query=(*query, *PAGE))


def _get(path: str, words: str) -> Operation:
    return Operation(verb="get", method="GET", path=path, words=words)


def _delete(path: str, words: str, verb: str = "delete") -> Operation:
    return Operation(verb=verb, method="DELETE", path=path, words=words)


def _create(path: str, words: str, *body: Field) -> Operation:
    return Operation(verb="create", method="POST", path=path, words=words, body=body)


def _update(path: str, words: str, *body: Field) -> Operation:
    return Operation(verb="update", method="PATCH", path=path, words=words, body=body)


def _do(verb: str, path: str, words: str, *body: Field) -> Operation:
    return Operation(verb=verb, method="POST", path=path, words=words, body=body)


def _module(name: str) -> Group:
    what, fields = MODULES[name]
    path = f"/edges/https/{{edge_id}}/routes/{{id}}/{name}"
    return Group(
        f"edge-modules https-edge-route-{name.replace('_', '-')}",
        f"Of an edge: {what}.",
        (
            Operation(verb="replace", method="PUT", path=path, words="Set all of it; returns it.", body=fields),
            _get(path, "Show it, without secrets."),
            _delete(path, "Take it away; acts on the next request."),
        ),
    )


_ROUTES = "/edges/https/{edge_id}/routes"
GROUPS: tuple[Group, ...] = (
    Group(
        "edges https",
        "Durable endpoints that tunnels join.",
        (
            _list("/edges/https", "List edges."),
            _create("/edges/https", "Make an edge, with its login and other rules at once.", *NEW_EDGE, OWNER),
            _get("/edges/https/{id}", "Show an edge."),
            _update("/edges/https/{id}", "Change what is given.", *EDGE),
            _do(
                "test-oidc",
                "/edges/https/{id}/test_oidc",
                "Look at a provider as its logins would; sets nothing.",
                *OIDC,
            ),
            _delete("/edges/https/{id}", "Delete an edge; its host stays reserved."),
        ),
    ),
    Group(
        "edges https-routes",
        "The route of an edge, on which its modules hang.",
        (
            _create(_ROUTES, "Make the route of an edge that has none.", *ROUTE),
            _get(_ROUTES + "/{id}", "Show the route with its modules."),
            _update(_ROUTES + "/{id}", "Change what is given; a module that is given is set whole.", *ROUTE),
            _delete(_ROUTES + "/{id}", "Delete the route; then the edge is not served."),
        ),
    ),
    *map(_module, MODULES),
    Group(
        "backends tunnel-group",
        "Tunnels that carry the same labels.",
        (
            _list("/backends/tunnel_group", "List tunnel groups."),
            _create(
                "/backends/tunnel_group",
                "Make a tunnel group.",
                Field("labels", "pairs", "Label that its tunnels carry."),
                *WORDS,
                OWNER,
            ),
            _get("/backends/tunnel_group/{id}", "Show a tunnel group and who is online of it."),
            _update(
                "/backends/tunnel_group/{id}",
                "Change what is given.",
                Field("labels", "pairs", "Label that its tunnels carry; those given are all there are."),
                *WORDS,
            ),
            _delete("/backends/tunnel_group/{id}", "Delete a tunnel group that no edge uses."),
        ),
    ),
    Group(
        "reserved-domains",
        "Host names that are yours.",
        (
            _list("/reserved_domains", "List reserved names."),
            _create(
                "/reserved_domains",
                "Reserve a name.",
                text("domain", "Host name, or one label below the relay's domain; empty for a random one."),
                *WORDS,
                OWNER,
            ),
            _get("/reserved_domains/{id}", "Show a reserved name."),
            _update("/reserved_domains/{id}", "Change what is given.", *WORDS),
            _delete("/reserved_domains/{id}", "Give a name up that no edge uses."),
        ),
    ),
    Group(
        "endpoints",
        "What answers at this moment: edges, and what agents serve.",
        (_list("/endpoints", "List endpoints."), _get("/endpoints/{id}", "Show an endpoint.")),
    ),
    Group(
        "tunnels",
        "What agents serve at this moment.",
        (
            _list("/tunnels", "List tunnels."),
            _get("/tunnels/{id}", "Show a tunnel."),
            _do("drain", "/tunnels/{id}/drain", "Give a tunnel no more requests; those it has go on."),
        ),
    ),
    Group(
        "tunnel-sessions",
        "Agents that are connected.",
        (
            _list("/tunnel_sessions", "List agents' sessions."),
            _get("/tunnel_sessions/{id}", "Show an agent's session."),
            _do("stop", "/tunnel_sessions/{id}/stop", "Stop an agent: it does not come back by itself."),
            _do("restart", "/tunnel_sessions/{id}/restart", "End an agent's link; it comes back with a new one."),
        ),
    ),
    Group(
        "credentials",
        "Authtokens of agents.",
        (
            _list("/credentials", "List authtokens."),
            _create(
                "/credentials",
                "Make an authtoken; this answer is the only place where it is shown.",
                many("acl", "What it may bind: bind:demo.tun.example, bind:pr-*; empty for everything."),
                EXPIRES,
                *WORDS,
                OWNER,
                text("owner_id", "The user whose owner it is for; administrators only."),
            ),
            _get("/credentials/{id}", "Show an authtoken, without its text."),
            _update(
                "/credentials/{id}",
                "Change what is given.",
                many("acl", "What it may bind; empty for everything."),
                EXPIRES,
                *WORDS,
            ),
            _delete("/credentials/{id}", "Revoke an authtoken: its agents' links end at once."),
        ),
    ),
    Group(
        "api-keys",
        "Keys for this API.",
        (
            _list("/api_keys", "List keys."),
            _create(
                "/api_keys",
                "Make a key; this answer is the only place where it is shown.",
                many("scopes", "What it may do, as edges:read; * for everything."),
                EXPIRES,
                *WORDS,
                text("owner_id", "The user it speaks for; administrators only."),
            ),
            _get("/api_keys/{id}", "Show a key, without its text."),
            _update("/api_keys/{id}", "Change what is given.", *WORDS),
            _delete("/api_keys/{id}", "Make a key worthless at once."),
        ),
    ),
    Group(
        "providers",
        "OpenID providers that owners name as @name.",
        (
            _list("/providers", "List providers."),
            _create("/providers", "Register a provider.", text("name", "As in --oidc=@name."), *PROVIDER),
            _get("/providers/{id}", "Show a provider, without its secret."),
            _update("/providers/{id}", "Change what is given; endpoints that use it follow at once.", *PROVIDER),
            _do("test", "/providers/{id}/test", "Look at a provider as a login would."),
            _delete("/providers/{id}", "Delete a provider that no edge uses."),
        ),
    ),
    Group(
        "users",
        "Who may sign in and own keys.",
        (
            _list("/users", "List users."),
            _create(
                "/users",
                "Add a user.",
                text("name", "For people."),
                text("role", "admin or member."),
                text("email", "Address."),
                text("owner", "Whose things a member sees and changes."),
            ),
            _get("/users/{id}", "Show a user."),
            Operation(verb="me", method="GET", path="/me", words="Show whom the key speaks for, and what it may do."),
            _update(
                "/users/{id}",
                "Change what is given.",
                text("name", "For people."),
                text("role", "admin or member."),
                text("email", "Address."),
                text("owner", "Whose things a member sees and changes."),
                Field("disabled", "switch", "Whether they are locked out."),
            ),
            _do("invite", "/users/{id}/invitations", "Make a link that signs a user in, once."),
            _delete("/users/{id}", "Remove a user, with their keys and sign-ins."),
        ),
    ),
    Group(
        "sessions",
        "Visitors' logins.",
        (
            _list("/app/sessions", "List who is signed in where.", HOST, text("email", "Only of this address.")),
            _get("/app/sessions/{id}", "Show a login."),
            _delete("/app/sessions/{id}", "End a login, and close what it had open, at once.", "revoke"),
        ),
    ),
    Group(
        "traffic",
        "The last requests of visitors.",
        (
            Operation(
                verb="list",
                method="GET",
                path="/traffic",
                words="List requests, the newest first.",
                query=(
                    HOST,
                    Field("status", "number", "Only this class: 4 for 400 to 499."),
                    text("verdict", "Only 'let in', 'kept out', 'sent to sign in' or 'neither'."),
                    LIMIT,
                ),
            ),
        ),
    ),
    Group(
        "audit",
        "What happened, and who did it.",
        (
            _list(
                "/audit",
                "List events, the newest first.",
                text("since", "Only from then on, as 2026-01-31T12:00:00Z."),
                HOST,
                text("kind", "Only of this kind."),
                text("owner", "Only about what is this owner's."),
            ),
        ),
    ),
)
