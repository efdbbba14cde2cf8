"""Every service in one value, made in `assembly.py` and given to the API and the dashboard."""

from dataclasses import dataclass

from tunnelrelay.manage.api_keys import ApiKeys
from tunnelrelay.manage.audit_trail import AuditTrail
from tunnelrelay.manage.backends import Backends
from tunnelrelay.manage.credentials import Credentials
from tunnelrelay.manage.domains import Domains
from tunnelrelay.manage.edges import Edges
from tunnelrelay.manage.logins import Logins
from tunnelrelay.manage.providers import Providers
from tunnelrelay.manage.sign_ins import SignIns
from tunnelrelay.manage.traffic import Traffic
from tunnelrelay.manage.tunnels import Tunnels
from tunnelrelay.manage.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """See the module. Every method takes the actor first and asks itself whether they may."""

    edges: Edges
    backends: Backends
    domains: Domains
    credentials: Credentials
    api_keys: ApiKeys
    users: Users
    providers: Providers
    sign_ins: SignIns
    logins: Logins
    tunnels: Tunnels
    traffic: Traffic
    audit: AuditTrail
