"""What only administrators see: pages whose form the service layer would refuse to everybody else anyway."""

from tunnelrelay.dashboard.request_input import Asked
from tunnelrelay.services.problems import Kind, ManageError


def for_admins(asked: Asked) -> None:
    """Goes on for administrators.

    Raises:
        ManageError: FORBIDDEN for everybody else.
    """
    if not asked.actor.is_admin:
        raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may do this.")
