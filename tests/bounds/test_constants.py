"""Every `MAX_*` and `BURST*` of the relay is used by a declaration, or is named here with the reason why it has none.

A limit on one message or one value takes memory only while that message is handled, or as a part of something that is
declared. A limit on rows is enforced against the store.
"""

import ast
import re

from tests.bounds.found import scanned
from tests.test_architecture import tree

LIMIT = re.compile(r"_?(MAX|BURST)|RELAY_GROWTH$")

BY_REASON = {
    "one head, body or message of a peer, or one part of it": """
        tunnelctl.link.link: MAX_MESSAGE
        tunnelctl.http1.request_reader: MAX_AHEAD
        tunnelctl.wire.frames: MAX_STREAM_ID MAX_CREDIT
        tunnelctl.wire.about: MAX_ABOUT_TEXT
        tunnelctl.wire.messages: MAX_SETTING
        tunnelctl.wire.problem: MAX_PROBLEMS MAX_TEXT
        tunnelrelay.agents.health_probes: MAX_ANSWER
        tunnelrelay.agents.session: MAX_REFUSAL MAX_HINT
        tunnelrelay.app.control_socket: MAX_LINE MAX_PATH
        tunnelrelay.dashboard.form: MAX_FORM MAX_FIELDS
        tunnelrelay.ingress.exchange: MAX_FORGED
        tunnelrelay.ingress.responses: MAX_INTERIM
        tunnelrelay.ingress.forward: MAX_JOINED
        tunnelrelay.ingress.connection: MAX_HEAD_READ
        tunnelrelay.ingress.ingress: MAX_READ
        tunnelrelay.ingress.proxies: MAX_HOPS MAX_SHOWN
        tunnelrelay.oidc.login.cookies: MAX_TRANSACTIONS
        tunnelrelay.oidc.providers.fetch: MAX_PARTS
        tunnelrelay.oidc.login.start: MAX_CLEARED
        tunnelrelay.ingress.clear_site_data: MAX_ENDED
        tunnelrelay.web.request_parsing: MAX_FORM MAX_PARAMS
    """,
    "the length or the range of one value": """
        tunnelctl.oidc.judge_answer: MAX_DOCUMENT MAX_SKEW
        tunnelctl.oidc.keys: MAX_KEYS MAX_KID MAX_RSA_BITS MAX_RSA_EXPONENT
        tunnelctl.oidc.metadata: MAX_ENDPOINT MAX_PROMPTS MAX_PROMPT
        tunnelctl.wire.texts: MAX_LABELS MAX_LABEL MAX_DESCRIPTION MAX_METADATA
        tunnelrelay.address: MAX_HOST
        tunnelrelay.agents.token_acl: MAX_RULE MAX_RULES
        tunnelrelay.agents.tunnel_offers: MAX_UPSTREAM
        tunnelrelay.observe.audit_writer: MAX_DIGITS MAX_ID
        tunnelrelay.dashboard.views.audit: MAX_EVENT_ID
        tunnelrelay.dashboard.views.audit_event: MAX_YEAR_SECONDS
        tunnelrelay.dashboard.sign_in_redirects: MAX_NEXT
        tunnelrelay.ingress.clear_site_data: MAX_HOST
        tunnelrelay.ingress.visitors: MAX_NAME
        tunnelrelay.ingress.route: MAX_HOST
        tunnelrelay.services.provider_directory: MAX_SEALED
        tunnelrelay.services.dashboard_login: MAX_SECONDS
        tunnelrelay.services.edge_policy: MAX_SECRETS MAX_SEALED
        tunnelrelay.services.edge_settings: MAX_SETTINGS
        tunnelrelay.services.service_base: MAX_VALUE MAX_EXPIRY
        tunnelrelay.services.providers: MAX_OWNERS MAX_SECRET
        tunnelrelay.services.sign_in_rows: MAX_SECONDS MAX_AGENT MAX_PEER
        tunnelrelay.services.users: MAX_NAME MAX_EMAIL
        tunnelrelay.observe.access: MAX_PATH
        tunnelrelay.observe.audit: MAX_TEXT MAX_CHANGE MAX_DETAILS
        tunnelrelay.observe.traffic: MAX_WORD
        tunnelrelay.oidc.login.callback: MAX_DESCRIPTION
        tunnelrelay.oidc.login.sealed_state: MAX_BLOB MAX_CODE MAX_RETURN
        tunnelrelay.oidc.tokens.claims: MAX_DEPTH
        tunnelrelay.oidc.providers.ssrf_guard: MAX_PORT
        tunnelrelay.oidc.tokens.identity: MAX_VALUE MAX_GROUPS
        tunnelrelay.oidc.login.third_party_login: MAX_HINT
        tunnelrelay.oidc.logout.logout_token: MAX_NAME
        tunnelrelay.oidc.logout.provider_logout: MAX_LOGOUT_TOKEN MAX_SID
        tunnelrelay.oidc.providers.token_request: MAX_CLAIMS MAX_EXPIRES_IN
        tunnelrelay.oidc.sessions.session: MAX_ID_TOKEN MAX_KEPT_TOKEN MAX_SID MAX_ACR MAX_TIME
        tunnelrelay.oidc.sessions.job_tokens: MAX_AGE
        tunnelrelay.oidc.sessions.rows: MAX_SEALED
        tunnelrelay.oidc.tokens.id_token: MAX_TOKEN MAX_HEADER MAX_AGE MAX_SUBJECT
        tunnelrelay.pages.page: MAX_QUOTE MAX_HOST MAX_OUTSIDE
        tunnelrelay.policy.cookies: MAX_REMEMBERED
        tunnelrelay.policy.edits: MAX_ADDED
        tunnelrelay.policy.header_names: MAX_NAME
        tunnelrelay.policy.decision_reason: MAX_NAMED
        tunnelrelay.policy.trust: MAX_CLAIMS MAX_CLAIM_TEXT MAX_AUDIENCE MAX_LABEL
        tunnelrelay.registry.tunnel: MAX_WEIGHT
        tunnelrelay.agents.authtokens: MAX_OWNER_LENGTH
    """,
    "how much one turn, look, page, statement or try takes": """
        tunnelctl.link.dial: MAX_WAIT
        tunnelctl.link.pacing: MAX_FRAMES_PER_TURN MAX_IDLE_FRAMES
        tunnelctl.oidc.judge_issuer: MAX_CANDIDATES
        tunnelctl.inspector.har: MAX_PARAMETERS
        tunnelctl.inspector.masking: MAX_SHOWN MAX_LEVELS
        tunnelctl.wire.scheduler: MAX_SMALL MAX_DIRECT MAX_DIRECT_BESIDE
        tunnelctl.wire.session: MAX_FRAMES_AT_ONCE MAX_PINNING
        tunnelrelay.agents.name_claims: MAX_AT_ONCE
        tunnelrelay.agents.tcp_addresses: MAX_LOOKED_AT
        tunnelrelay.observe.audit_writer: MAX_BATCH
        tunnelrelay.dashboard.sse: MAX_REST_SECONDS
        tunnelrelay.dashboard.views.api_keys: MAX_USERS
        tunnelrelay.dashboard.views.audit: MAX_USERS MAX_EXPORTED
        tunnelrelay.dashboard.views.hosts: MAX_DOMAINS
        tunnelrelay.dashboard.views.logins: MAX_COUNTED
        tunnelrelay.dashboard.views.providers: MAX_EDGES
        tunnelrelay.ingress.handshakes: MAX_ACCEPTED
        tunnelctl.http1.request_reader: MAX_LINES
        tunnelrelay.ingress.ingress: MAX_LOOKED_AT
        tunnelrelay.ingress.turns: MAX_BEGUN MAX_OF_ADDRESS MAX_READ_AT_ONCE MAX_READ
        tunnelrelay.ingress.exchange: MAX_TRIES
        tunnelrelay.services.audit_trail: MAX_COLLEAGUES MAX_LOGINS
        tunnelrelay.services.edges: MAX_TRIES
        tunnelrelay.services.service_base: MAX_PAGE
        tunnelrelay.services.traffic: MAX_RECENT
        tunnelrelay.oidc.providers.known_providers: MAX_FAILED_SECONDS
        tunnelrelay.oidc.logout.provider_logout: MAX_AWAY
        tunnelrelay.oidc.providers.prefetch: MAX_RUNNING
        tunnelrelay.policy.cookies: MAX_DOUBTFUL
        tunnelrelay.store.base: MAX_COOLING MAX_COOLED
    """,
    "declared by the module that enforces it": """
        tunnelctl.wire.limits: MAX_TUNNELS
    """,
    "the operator's own files, settings, keys and connections": """
        tunnelrelay.config.dashboard: MAX_TEXT
        tunnelrelay.config.database: MAX_URL
        tunnelrelay.config.sources: MAX_FILE_SIZE
        tunnelrelay.config.values: MAX_OWNER_LENGTH MAX_DOMAIN_LENGTH
        tunnelrelay.app.control_socket: MAX_CONNECTIONS
        tunnelrelay.ingress.certificate_check: MAX_FILE
        tunnelrelay.keys.assertion: MAX_KEYS
        tunnelrelay.keys.keyring: MAX_MASTERS
        tunnelrelay.keys.key_files: MAX_BYTES
        tunnelrelay.store.postgresql: MAX_CONNECTIONS
        tunnelrelay.store.store: MAX_CONNECTIONS
    """,
}


def exempt() -> set[str]:
    lines = (line.split(":") for text in BY_REASON.values() for line in text.strip().splitlines())
    return {f"{module.strip()}:{name}" for module, names in lines for name in names.split()}


def undeclared() -> set[str]:
    """Limits at the top of a module that its `BOUNDS` does not use."""
    found: set[str] = set()
    for module in scanned():
        names: set[str] = set()
        used: set[str] = set()
        for node in tree(module).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                made = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
                names |= {name for name in made if LIMIT.match(name)}
                if "BOUNDS" in made:
                    used |= {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
        found |= {f"{module}:{name}" for name in names - used}
    return found


def test_every_limit_is_declared_or_has_a_reason_why_not() -> None:
    assert undeclared() - exempt() == set()


def test_no_reason_is_given_for_what_is_declared_or_gone() -> None:
    assert exempt() - undeclared() == set()
