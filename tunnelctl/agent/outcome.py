"""The ways in which an agent's run, or one of its links, can end. All of them are expected, so they are values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from tunnelctl import __version__
from tunnelctl.agent.address import TCP
from tunnelctl.link.dial import DialFailed
from tunnelctl.policy.fields import FLAGS
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Refused, Superseded


@dataclass(frozen=True, slots=True)
class Stopped:
    """The agent was asked to stop, and has stopped."""


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The relay does not accept this credential, or has revoked it.

    Attributes:
        error: The relay's name for the error; "" without one. See `ngrok_codes`.
    """

    message: str
    hint: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class NameTaken:
    """The address belongs to another owner, or another agent of the same owner has taken it over.

    Attributes:
        error: The relay's name for the error; "" without one. See `ngrok_codes`.
    """

    message: str
    hint: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The relay understood the settings but cannot serve them: a usage error that only the relay can detect.

    Attributes:
        error: The relay's name for the error; "" without one. See `ngrok_codes`.
    """

    message: str
    hint: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class NoRelay:
    """The server at the relay's address is not a relay. Trying again would not help."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An obstacle that trying again cannot remove is on the path to the relay: a certificate, a proxy, the wrong
    scheme.
    """

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The relay will not serve this agent, for a reason of its own.

    Attributes:
        error: The relay's name for the error; "" without one. See `ngrok_codes`.
    """

    message: str
    hint: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class AllEnded:
    """All of several tunnels have ended.

    Attributes:
        ends: Name of each tunnel, and how it ended.
    """

    ends: tuple[tuple[str, "TunnelEnd"], ...]


TunnelEnd = NotAllowed | NameTaken | Invalid | Failed
"""The ways in which one tunnel ends by itself. The agent continues while it has others."""
Outcome = Stopped | TunnelEnd | NoRelay | Unreachable | AllEnded


@dataclass(frozen=True, slots=True)
class Trouble:
    """No link could be opened, or it was lost. The agent tries again.

    Attributes:
        wait: Minimum seconds to wait, as the relay asked.
        error: The relay's name for the error, "" without one; see `ngrok_codes`.
    """

    reason: str
    wait: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The relay drains: a new link must be opened, and this one ends with its last exchange."""

    reason: str


LinkEnd = Outcome | Trouble | GoingAway


def judge_dial(failure: DialFailed, *, was_connected: bool, relay_from: str = "") -> Outcome | Trouble:
    """Return the meaning of a failed connection attempt.

    Args:
        was_connected: A relay has answered at this address before. Then any other answer now (a proxy whose relay
            restarts responds with 404 for a moment) is temporary, and does not show that the address is wrong.
        relay_from: Flag, variable or key that gave the address; "" for the default.
    """
    match failure.kind:
        case "refused":
            return NotAllowed(failure.message, failure.hint or _token_hint(failure.status), failure.error)
        case "protocol" if not was_connected:
            return NoRelay(failure.message, failure.hint or "is --relay the address of a tunnelrelay?")
        case "barred" if not was_connected:
            return Unreachable(failure.message, failure.hint)
        case "protocol" | "barred" | "unreachable":
            hint = failure.hint
            if failure.kind == "unreachable" and not failure.status and not was_connected:
                hint = hint or _address_hint(relay_from)
            text = f"{failure.message} (hint: {hint})" if hint else failure.message
            return Trouble(text, failure.wait, failure.error)
        case _:
            assert_never(failure.kind)


def judge_refusal(refused: Refused, names: Mapping[str, str] = FLAGS) -> TunnelEnd | Trouble:
    """Return the meaning of the relay's refusal to bind a tunnel.

    Args:
        names: Names of the settings as the user knows them: flags, or keys of the configuration file.
    """
    match refused.code:
        case "name_taken":
            return NameTaken(refused.message, refused.hint or "choose another name with --subdomain", refused.code)
        case "name_invalid":
            return Invalid(refused.message, refused.hint, refused.code)
        case "edge_unknown":
            return Invalid(
                refused.message, refused.hint or "`tunnel api edges https list` lists your edges", refused.code
            )
        case "policy_invalid":
            return Invalid(_as_typed(refused, names), refused.hint, refused.code)
        case "not_allowed":
            hint = refused.hint or "`tunnel api credentials list` shows what it may bind"
            return NotAllowed(refused.message, hint, refused.code)
        case "try_later":
            return Trouble(refused.message)
        case _:  # `too_many`, and codes of later relays
            return Failed(refused.message, refused.hint, refused.code)


def judge_superseded(superseded: Superseded, host: str) -> TunnelEnd:
    """Return the end of a tunnel whose address another agent of the same owner serves now."""
    other = "port with --remote-addr" if host.startswith(TCP) else "name with --subdomain"
    return NameTaken(
        f"{host} was taken over by another agent of yours, from {superseded.by} at {superseded.at}",
        f"stop the other agent, or give one of them another {other}",
        "superseded",
    )


def judge_close(code: Code, reason: str, *, relay_release: str = "") -> Outcome | Trouble:
    """Return the meaning of the end of a link.

    Args:
        relay_release: Release of the relay that ended it; "" when the link was lost or this side ended it.
    """
    match code:
        case Code.PROTOCOL if relay_release:
            hint = (
                f"the relay (release {relay_release}) may be older than this agent ({__version__}) and not know a "
                "setting of the tunnel: upgrade the relay, or leave the newer settings out"
            )
            return Trouble(f"the relay ended the link: {reason} (hint: {hint})")
        case Code.UNAUTHORIZED:
            hint = "ask the relay's operator for a new authtoken"
            return NotAllowed(reason or "the authtoken was revoked", hint, "token_revoked")
        case Code.STOPPED:
            return NotAllowed(reason or "the relay stopped this agent", "start it again when that is meant to be")
        case Code.SUPERSEDED:
            message = reason or "another agent of yours took the address over"
            return NameTaken(message, "stop the other agent", "superseded")
        case _:
            return Trouble(reason or "the relay closed the link")


def _as_typed(refused: Refused, names: Mapping[str, str]) -> str:
    """Return the relay's problems with the settings, with the names under which the user gave them.

    Older relays name no settings.
    """
    named = [f"{names.get(problem.field, problem.field)}: {problem.text}" for problem in refused.problems]
    return "; ".join(named) or refused.message


def _address_hint(relay_from: str) -> str:
    """Return a hint that names the source of the relay's address, for an address at which no relay responds."""
    if relay_from:
        return f"the address is from {relay_from}"
    named = "name another with --relay, or save it: `tunnel config add-relay URL`"
    return f"no relay was named, so it is looked for on this machine: {named}; or start one: `tunnelrelay serve`"


def _token_hint(status: int) -> str:
    if status == 401:
        return "ask the relay's operator for an authtoken and save it with: tunnel config add-authtoken TOKEN"
    return ""
