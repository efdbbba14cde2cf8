"""Names the rule that let in the holder of a login or token, or a visitor without one, for the endpoint's owner."""

import msgspec

from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.decision_reason import let_in_person, let_in_program, let_in_without_login
from tunnelrelay.policy.rules import Policy


def let_in_by(session: object, policy: Policy | None, exempt: str) -> str:
    """The rule that let a visitor in.

    Args:
        session: The `VisitorSession` or `Program` that let it in; None without one.
        policy: The rules that it was judged by.
        exempt: The rule that exempted the request from the login (`Exempt.rule`); "" for none.
    """
    match session:
        case VisitorSession() if policy is not None:
            return let_in_person(policy, msgspec.json.decode(session.claims))
        case Program() if policy is not None:
            return let_in_program(policy, session.identity.issuer)
        case _:
            return let_in_without_login(policy, exempt)
