"""Which host an agent gets for what it asks."""

import base64
import secrets
from dataclasses import dataclass

from tunnelctl.wire.messages import Bind
from tunnelrelay.address import PublicAddress, label_problem

RANDOM_BYTES = 8
"""64 bits: a name nobody chose is also a name nobody guesses, and is never given out twice."""


@dataclass(frozen=True, slots=True)
class NameRefused:
    """The wish cannot be granted. `message` and `hint` are for people."""

    message: str
    hint: str = ""


def choose_host(bind: Bind, address: PublicAddress) -> str | NameRefused:
    """The host for a bind: the one asked for if it may be served here, else a random one."""
    if bind.subdomain is not None and bind.host is not None:
        return NameRefused("a subdomain and a whole host were asked for at once", "give one of the two")
    if bind.subdomain is not None:
        label = bind.subdomain
    elif bind.host is not None:
        found = address.label_of(bind.host)
        if found is None:
            return NameRefused(
                f"{bind.host[:120]!r} is not one name below {address.domain}",
                f"this relay serves *.{address.domain}; choose a name there, for example with --subdomain",
            )
        label = found
    else:
        return address.host_for_label(random_label())
    problem = label_problem(label)
    return NameRefused(problem, "choose another name") if problem else address.host_for_label(label)


def random_label() -> str:
    """A name of `RANDOM_BYTES` random bytes, in letters and digits."""
    return base64.b32encode(secrets.token_bytes(RANDOM_BYTES)).decode().rstrip("=").lower()
