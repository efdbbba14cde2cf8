"""Names the rule that let in a visitor, with or without login or token, for the endpoint's owner."""

import msgspec

from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.decision_reason import let_in_person, let_in_program, let_in_without_login
from tunnelrelay.policy.rules import Policy


def let_in_by(session: object, policy: Policy | None, exempt: str) -> str:
    """Return the rule that let a visitor in.

    Args:
        session: The `VisitorSession` or `Program` that authorized the request; None without one.
        policy: The endpoint's rules at that time.
        exempt: Rule that exempted the request from the login (`Exempt.rule`); "" for none.
    """
    match session:
        case VisitorSession() if policy is not None:
            return let_in_person(policy, msgspec.json.decode(session.claims))
        case Program() if policy is not None:
            return let_in_program(policy, session.identity.issuer)
        case _:
            return let_in_without_login(policy, exempt)
