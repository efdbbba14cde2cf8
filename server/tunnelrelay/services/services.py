"""All services in one value, created in `app/wiring.py` and used by the API and the dashboard."""

from dataclasses import dataclass

from tunnelrelay.services.addrs import Addrs
from tunnelrelay.services.api_keys import ApiKeys
from tunnelrelay.services.audit_trail import AuditTrail
from tunnelrelay.services.backends import Backends
from tunnelrelay.services.credentials import Credentials
from tunnelrelay.services.domains import Domains
from tunnelrelay.services.edges import Edges
from tunnelrelay.services.logins import Logins
from tunnelrelay.services.providers import Providers
from tunnelrelay.services.sign_ins import SignIns
from tunnelrelay.services.traffic import Traffic
from tunnelrelay.services.trust_rules import TrustRules
from tunnelrelay.services.tunnels import Tunnels
from tunnelrelay.services.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services. Every method takes the actor first and checks what the actor may do."""

    edges: Edges
    backends: Backends
    domains: Domains
    addrs: Addrs
    credentials: Credentials
    trust_rules: TrustRules
    api_keys: ApiKeys
    users: Users
    providers: Providers
    sign_ins: SignIns
    logins: Logins
    tunnels: Tunnels
    traffic: Traffic
    audit: AuditTrail
