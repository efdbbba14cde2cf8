"""Everything in the relay that can grow is declared with its bound, or is named here with the reason why it cannot.

When this fails for something new: give it a `MAX_` constant that is looked at before the memory is taken, declare it in
its module's `BOUNDS`, write a driver in `tests/bounds/drivers.py`, and bring the page up to date with
`python -m tests.docs.limits_page --write`.
"""

from tests.bounds.found import attributes, declared, growing, held, scanned
from tests.docs.limits_page import BEGIN, END, PAGE, table
from tests.support.every import every

BOUNDED_BY_OTHERS = {
    # One message, body or head, whose bytes are bounded.
    "tunnelctl.http1.body:LengthDecoder.trailers": "always empty",
    "tunnelctl.http1.body:CloseDecoder.trailers": "always empty",
    "tunnelctl.http1.body:ChunkedDecoder.trailers": "one body: MAX_TRAILERS and MAX_TRAILER_FIELDS",
    "tunnelctl.http1.request_reader:RequestReader.trailers": "those of one body, as its decoder kept them",
    "tunnelctl.oidc.findings:Answered.headers": "the head of one answer: meter.MAX_HEAD",
    "tunnelrelay.dashboard.form:Form._params": "one form: MAX_FORM and MAX_FIELDS",
    "tunnelrelay.dashboard.views.edge_oidc:TypedLogin.errors": "one form's fields",
    "tunnelrelay.dashboard.views.provider_form:TypedProvider.errors": "one form's fields",
    "tunnelrelay.observe.audit:AuditEvent.details": "one event: MAX_DETAILS of MAX_CHANGE characters",
    "tunnelctl.http1.head:_Fields.fields": "fields of one head: MAX_FIELDS, and the head's bytes",
    "tunnelrelay.ingress.forward:Forward._pieces": "pieces of one turn: MAX_FRAMES_PER_TURN, MAX_JOINED bytes each",
    "tunnelrelay.ingress.ingress:Ingress.forged": "fields of one head, told when it is over",
    # Filled by the program itself, at its start or when it is asked for the first time.
    "tunnelrelay.dashboard.assets:_by_hash()": "the packaged files",
    "tunnelrelay.dashboard.assets:_assets()": "the packaged files",
    "tunnelrelay.dashboard.assets:_hashed()": "the packaged files",
    "tunnelrelay.dashboard.render:_environment()": "one environment",
    "tunnelctl.look.icons:drawings()": "the packaged files",
    "tunnelrelay.observe.metrics:Metrics._readers": "the gauges of the program",
    "tunnelrelay.observe.text:_second()": "eight seconds' texts",
    "tunnelrelay.oidc.providers.ssrf_guard:_trusting()": "four sets of certificate files; a relay has one",
    "tunnelrelay.pages.texts:texts()": "the packaged texts",
    "tunnelrelay.pages.page:_signs()": "the packaged files",
    "tunnelrelay.pages.page:_style_hash()": "one hash",
    "tunnelrelay.pages.page:_template()": "one template",
    "tunnelrelay.pages.errors:ERRORS": "the errors of the program",
    "tunnelrelay.app.relay:Relay.misgivings": "what is odd about the configuration",
    "tunnelrelay.ingress.tcp:TcpPorts._open": "the ports of the configuration",
    "tunnelrelay.app.relay:Relay._bound": "the listeners of the configuration",
    "tunnelrelay.app.relay:Relay._servers": "the listeners of the configuration",
    "tunnelrelay.store.texts:_texts()": "the columns of the schema",
    "tunnelrelay.keys.assertion:AssertionSigner._opened": "the relay's own keys: MAX_KEYS",
    "tunnelrelay.keys.keyring:KeyRing._ciphers": "the relay's own keys: MAX_MASTERS",
    "tunnelrelay.keys.keyring:KeyRing._digest_keys": "one key for each purpose of the program",
    # No more than something else that is declared.
    "tunnelctl.wire.session:Session._streams": "max_streams of the session",
    "tunnelctl.wire.session:Session._grants": "one for each open stream",
    "tunnelctl.wire.scheduler:Scheduler._ring": "one for each open stream",
    "tunnelctl.wire.scheduler:Scheduler._ready": "MAX_DIRECT, max_unsent_answers, and one grant for each stream",
    "tunnelctl.wire.session:Session._events": "what one call of receive_data or data_to_send made",
    "tunnelctl.wire.session:Session._partial": "one frame that is not here whole, or what one message left unread",
    "tunnelctl.wire.heartbeat:Heartbeat._sent": "max_unanswered_pings",
    "tunnelrelay.agents.address_updates:AddressUpdates._timers": "one for each tunnel of a link",
    "tunnelrelay.agents.health_probes:HealthProbes._waiting": "the tunnels that are there",
    "tunnelrelay.agents.name_claims:NameClaims._lost": "the names that were held when the store went away",
    "tunnelrelay.agents.name_claims:NameClaims._former": "the names that are being claimed: MAX_TUNNELS a link",
    "tunnelrelay.agents.tcp_addresses:tcp_hosts()": "the operator's ports, once",
    "tunnelrelay.agents.tcp_addresses:TcpAddresses._turns": "one for each owner whose ports are being claimed",
    "tunnelrelay.agents.name_claims:NameClaims._turns": "the names that are being claimed: MAX_TUNNELS a link",
    "tunnelrelay.agents.name_claims:NameClaims._owners_claims": "one for each owner whose names are being claimed",
    "tunnelrelay.policy.fair_cache:FairCache._values": "max_count and max_bytes, declared where the cache is made",
    "tunnelrelay.policy.fair_cache:FairCache._entries": "one for each value",
    "tunnelrelay.policy.fair_cache:FairCache._owners": "one for each owner with values",
    "tunnelrelay.policy.fair_cache:FairCache._by_count": "one for each owner with values",
    "tunnelrelay.policy.fair_cache:_Share.keys": "one for each value of an owner",
    "tunnelrelay.registry.registry:Registry._endpoints": "MAX_OWNERS_NAMES and MAX_EDGES of each owner",
    "tunnelrelay.registry.registry:Registry._requests_held": "a number for each owner with requests that wait",
    "tunnelrelay.registry.registry:Registry._tunnels": "MAX_TUNNELS of each link",
    "tunnelrelay.registry.registry:Registry._held": "a number for each owner with endpoints",
    "tunnelrelay.registry.registry:Registry._ports": "a number for each owner with tcp ports",
    "tunnelrelay.registry.edges:EdgeTable._edges": "MAX_EDGES of each owner",
    "tunnelrelay.registry.edges:EdgeTable._wanted": "the labels of each edge",
    "tunnelrelay.registry.edges:EdgeTable._of_owner": "the ids of each owner's edges",
    "tunnelrelay.registry.edges:EdgeTable._joined": "the owner's tunnels that join edges: MAX_OWNERS_NAMES",
    "tunnelrelay.registry.endpoint:Endpoint.open_by": "a number for each address with open requests, which have bounds",
    "tunnelrelay.services.provider_directory:ProviderDirectory._by_name": "the providers that administrators made",
    "tunnelrelay.services.service_base:ServiceBase._owner_turns": "one for each owner whose rows are being written",
    "tunnelrelay.services.edge_sync:EdgeSync._edges": "MAX_EDGES, and MAX_OWNERS_BYTES, of each owner",
    "tunnelrelay.services.edge_sync:EdgeSync._seen": "a number for each kind of thing",
    "tunnelrelay.ingress.ingress:Ingress.turns": "one request for each visitor's connection, declared in `turns`",
    "tunnelrelay.ingress.ingress:Ingress._over": "logins in memory that end in this turn",
    "tunnelrelay.ingress.asgi_bridge:AsgiBridge._event_streams": "one for each visitor's connection",
    "tunnelrelay.ingress.tcp:TcpPorts._beginning": "connections accepted in this turn, and the one before",
    "tunnelrelay.ingress.tcp:TcpPorts._connections": "a number for each owner with a visitor's connection",
    "tunnelrelay.ingress.quotas:VisitorQuotas._connections": "a number for each address with a visitor's connection",
    "tunnelrelay.oidc.login.finish:Finisher._under_way": "one for each open request that ends a login",
    "tunnelrelay.oidc.sessions.recheck:Rechecks._running": "one for each login in memory",
    "tunnelrelay.oidc.sessions.recheck:Rechecks._turns": "one for each connection that is being asked",
    "tunnelrelay.oidc.providers.dns:Resolver._owners": "one for each owner whose names are being looked up",
    "tunnelrelay.oidc.sessions.cleanup:SessionCleanup._doubtful": "one for each login in memory",
    "tunnelrelay.oidc.sessions.write_behind:WriteBehind._ended": "one for each login in memory",
    "tunnelrelay.oidc.sessions.write_behind:WriteBehind._touched": "one for each login in memory",
    "tunnelrelay.app.relay:Relay._tasks": "the relay's own tasks, and those of binds, checks and logins under way",
}
"""What can grow but has no bound of its own, and why that is right."""


def test_whatever_can_grow_is_declared() -> None:
    found = {each for name in scanned() for each in growing(name)}

    assert found - held() - BOUNDED_BY_OTHERS.keys() == set()


def test_no_declaration_names_what_is_not_there() -> None:
    found = {each for name in scanned() for each in growing(name)}

    assert held() - found - {each for name in scanned() for each in attributes(name)} == set()
    assert BOUNDED_BY_OTHERS.keys() - found == set()
    assert held() & BOUNDED_BY_OTHERS.keys() == set()


@every("name", declared())
def test_a_bound_says_what_it_bounds(name: str) -> None:
    _, bound = declared()[name]

    assert bound.limit > 0
    assert bound.worst_bytes >= 0
    assert bound.worst_bytes > 0 or not bound.holds, "what is kept takes memory"
    assert all((bound.unit, bound.per, bound.when_full))


def test_the_page_has_every_bound() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]

    assert written.strip() == table().strip()
