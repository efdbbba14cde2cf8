"""Writes ABOUT frames, which tell the agent of an inspected tunnel who sent a request and which rule let it in."""

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent
from tunnelctl.wire import about as wire
from tunnelctl.wire.about import MAX_ABOUT_TEXT, About
from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.let_in import let_in_by
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.decision_reason import issuer_of
from tunnelrelay.policy.exemptions import PREFLIGHT
from tunnelrelay.policy.rules import Policy

MAX_REMEMBERED = 4096
"""Login sessions whose rule is cached. Finding the rule means parsing the login's claims, up to 12 KB of JSON."""

BOUNDS = (
    DeclaredBound(
        name="logins at inspected tunnels whose rule is remembered",
        limit=MAX_REMEMBERED,
        unit="logins",
        per="relay",
        when_full="the oldest one's is worked out anew",
        worst_bytes=MAX_REMEMBERED * 3_500,
        holds=("AboutVisitors._rules",),
    ),
)


class AboutVisitors:
    """Makes the payloads of ABOUT frames. Caches which rule lets a login in, until its claims or the rules change."""

    __slots__ = ("_rules",)

    def __init__(self) -> None:
        self._rules = Recent[tuple[bytes, int, str], str](MAX_REMEMBERED)

    def payload(
        self, address: str, session: VisitorSession | Program | None, policy: Policy, exempt: str, gate_ns: int
    ) -> bytes:
        """Return the payload of the ABOUT frame for one request that was let in.

        Args:
            address: The visitor's address.
            session: The login or token that let the request in; None without one.
            policy: The policy that let the request in.
            exempt: The rule that exempted the request from the login (`Exempt.rule`); "" for none.
            gate_ns: Nanoseconds that the relay took to decide.
        """
        identity = session.identity if session is not None else None
        return wire.pack_about(
            About(
                address=address,
                subject=identity.subject if identity is not None else "",
                email=identity.email if identity is not None else "",
                name=identity.name if identity is not None else "",
                rule=self._rule(session, policy, exempt),
                how=_how(session, policy, exempt),
                gate_ns=gate_ns,
            )
        )

    def _rule(self, session: VisitorSession | Program | None, policy: Policy, exempt: str) -> str:
        if not isinstance(session, VisitorSession):
            return let_in_by(session, policy, exempt)
        rules_version = policy.connection.rules_version if policy.connection is not None else ""
        key = session.id_digest, session.version, rules_version
        rule = self._rules.get(key)
        if rule is None:
            rule = self._rules[key] = let_in_by(session, policy, exempt)[:MAX_ABOUT_TEXT]
        return rule


def _how(session: VisitorSession | Program | None, policy: Policy, exempt: str) -> str:
    """Return how the request was authenticated, as a value of `About.how`."""
    match session:
        case VisitorSession():
            return wire.SESSION
        case Program():
            issuer = issuer_of(policy, session.identity.issuer)
            if issuer is None:
                return wire.RUN_TOKEN
            return wire.BEARER if issuer.is_of_login else wire.JWT
        case None if policy.basic:
            return wire.BASIC
        case None if exempt:
            return wire.PREFLIGHT if exempt == PREFLIGHT.rule else wire.PUBLIC_PATH
        case None:
            return wire.NO_LOGIN
