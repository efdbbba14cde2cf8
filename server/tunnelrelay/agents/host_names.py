"""Chooses the host name of an agent's bind, and writes the refusals of names that it cannot have."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from tunnelctl.wire.messages import Bind
from tunnelrelay.address import PublicAddress, host_label_problem, tcp_port
from tunnelrelay.registry.registry import MAX_OWNERS_RULES, Taken
from tunnelrelay.store.base import NameRow

RANDOM_LENGTH = 14
"""Characters of a generated name, of 5 bits each: nearly 70 bits, which cannot be guessed."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_RANDOM_LABEL = rf"(?=[a-z]*[2-7][a-z]*[2-7])[{_ALPHABET}]{{{RANDOM_LENGTH}}}"
"""Pattern of a generated name. It holds two digits at least, which tell it from a word of 14 letters that an owner
chose."""
_RANDOM = re.compile(_RANDOM_LABEL)
RANDOM_HOST = rf"{_RANDOM_LABEL}\."
"""Pattern of the first label and dot of a host with a generated name. Databases use it in queries too."""


OTHER_NAME = "choose another name with --subdomain"
OTHER_PORT = "ask for another port with --remote-addr, or leave it to the relay"


@dataclass(frozen=True, slots=True)
class NameRefused:
    """Why an agent cannot have the name it asked for: a message and a hint for people."""

    message: str
    hint: str = ""


def choose_host(bind: Bind, address: PublicAddress) -> str | NameRefused:
    """Return the host for a bind: the one it asks for, or a generated one when it asks for none."""
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
    problem = host_label_problem(label)
    return NameRefused(problem, "choose another name") if problem else address.host_for_label(label)


def random_label() -> str:
    """Return a new random name for an endpoint, which `is_random` recognises as generated."""
    while True:
        label = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_LENGTH))
        if is_random(label):
            return label


def is_random(label: str) -> bool:
    """Whether a name has the form of a generated one. The cool-down of a generated name is longer than that of others;
    after it the store forgets the name."""
    return _RANDOM.fullmatch(label) is not None


def other_name(host: str) -> str:
    """Return the hint for an agent that cannot have this host: choose another subdomain, or another port."""
    return OTHER_NAME if tcp_port(host) is None else OTHER_PORT


def why_taken(row: NameRow, kept_until: float) -> tuple[str, str]:
    """Return message and hint for an agent that asked for a name which the store has for another owner.

    Args:
        row: The name's row in the store.
        kept_until: Unix time until which the name is reserved for its former owner.
    """
    other = other_name(row.host)
    if row.released_at is None:
        return f"{row.host} belongs to another owner on this relay", f"{other}, or ask its owner to stop"
    until = datetime.fromtimestamp(kept_until, UTC).strftime("until %Y-%m-%d %H:%M UTC")
    return (
        f"{row.host} was another owner's; the relay keeps it free {until}, so that its visitors meet no other owner",
        f"{other}, or ask the relay's operator: tunnelrelay name release {row.host}",
    )


def why_refused(taken: Taken) -> tuple[str, str, str]:
    """Return code, message and hint for an agent whose claim of a name this relay's registry has refused."""
    host, other = taken.host, other_name(taken.host)
    match taken.why:
        case "owner":
            return "name_taken", f"{host} belongs to another owner on this relay", other
        case "edge":
            hint = f"serve the edge with --edge {host.partition('.')[0]}, or {other}"
            return "name_taken", f"{host} is the name of an edge, which has its rules at the relay", hint
        case "same":
            hint = f"give both of them --pooling-enabled to share it, or {other}"
            return "name_taken", f"another tunnel of this agent serves {host}", hint
        case "pool":
            hint = f"share it with --pooling-enabled, or {other}"
            return "name_taken", f"other agents share {host}, and this one does not say that it will", hint
        case "alone":
            hint = f"start that one with --pooling-enabled too, or {other}"
            return "name_taken", f"another agent serves {host} and does not share it", hint
        case "rules":
            hint = "start every agent of a shared address with the same rules, or stop the others first"
            return "policy_invalid", f"the rules differ from those of the agents that share {host} already", hint
        case "full":
            return "too_many", f"as many tunnels share {host} as can", "serve it by fewer, or by another name too"
        case "large":
            most = f"{MAX_OWNERS_RULES >> 20} MiB of settings"
            return "too_many", f"all tunnels of one owner together have at most {most}", "shorten the lists of rules"
        case _:
            assert_never(taken.why)
