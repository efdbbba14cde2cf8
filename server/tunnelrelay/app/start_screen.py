"""The text that a relay shows on a terminal at its start: its address, who may connect, and what to type next. Pure.

Without a terminal, or with `--log-format=json`, the relay logs the same facts instead.
"""

import shlex
from dataclasses import dataclass, field

import tunnelctl
from tunnelctl.cli.exits import plain
from tunnelrelay.address import TCP, PublicAddress
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.values import ListenAddress

LABEL_WIDTH = 15
DEFAULT_LOCAL = "http://127.0.0.1:8080"
"""The relay that `tunnel http` connects to when neither flag, environment nor file names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """The facts about a started relay that the start screen shows.

    Attributes:
        http, https, admin: The addresses that the relay listens on; None for those that are off.
        can_connect: Whether any agent could connect: a token exists that is neither revoked nor expired.
        admin_link: The link that creates the first administrator; "" when there is one.
        redirect_uri: The redirect URI of the dashboard's OpenID login, to register at its provider; "" without one.
        warnings: Pairs of a warning and a hint, which may be "".
    """

    config: RelayConfig
    address: PublicAddress
    http: ListenAddress | None
    https: ListenAddress | None
    admin: ListenAddress | None
    can_connect: bool
    admin_link: str = field(default="", repr=False)
    redirect_uri: str = ""
    warnings: tuple[tuple[str, str], ...] = ()


def start_screen(facts: StartFacts, *, has_colour: bool = False) -> str:
    """Return the text of the start screen. Each command or link that people copy is on a line of its own."""
    bold, yellow, end = ("\x1b[1m", "\x1b[33m", "\x1b[0m") if has_colour else ("", "", "")
    lines = [f"{bold}tunnelrelay {tunnelctl.__version__}{end}, ready (Ctrl+C to stop)", ""]
    lines += [f"{label:<{LABEL_WIDTH}}{plain(text)}".rstrip() for label, text in _rows(facts)]
    for what, hint in facts.warnings:
        lines += ["", f"{yellow}warning:{end} {plain(what)}", *([f"hint: {plain(hint)}"] if hint else [])]
    for words, command in _next(facts):
        lines += ["", words, f"  {bold}{plain(command)}{end}"]
    return "\n".join([*lines, "", "The log follows.", ""])


def relay_url(facts: StartFacts) -> str:
    """Return the URL that agents give to `--relay`."""
    if facts.config.is_local and facts.https is None and facts.http is not None:
        return f"http://{facts.http}"
    return facts.address.url(facts.address.domain)


def _rows(facts: StartFacts) -> list[tuple[str, str]]:
    config, address = facts.config, facts.address
    listeners = [f"{name} {at}" for name, at in (("http", facts.http), ("https", facts.https)) if at is not None]
    rows = [
        ("Visitors", address.url(f"*.{address.domain}")),
        ("Agents", f"{relay_url(facts)}, {_who(facts)}"),
        ("Dashboard", address.url(address.dashboard_host)),
    ]
    if facts.redirect_uri:
        rows.append(("", f"redirect URI to register at its provider: {facts.redirect_uri}"))
    rows.append(("Listens on", ", ".join(listeners)))
    if config.tcp_ports:
        ports = ", ".join(map(str, config.tcp_ports))
        rows.append(("TCP tunnels", f"{TCP}{address.domain}:PORT, ports {ports}"))
    if facts.admin is not None:
        rows.append(("Health", f"http://{facts.admin}/readyz, metrics at /metrics"))
    return [*rows, ("Data", str(config.database or config.data_dir))]


def _who(facts: StartFacts) -> str:
    if not facts.config.needs_tokens:
        return "from this machine alone, without a token"
    return "with a token" if facts.can_connect else "with a token, of which there is none yet"


def _next(facts: StartFacts) -> list[tuple[str, str]]:
    """Return the operator's next steps, each with the command to type or the link to open."""
    steps = []
    if facts.admin_link:
        steps.append(("Make the first administrator: this link does, once and within an hour", facts.admin_link))
    agent = "tunnel http 3000"
    if (url := relay_url(facts)) != DEFAULT_LOCAL:
        agent += f" --relay {url}"
    if not facts.config.needs_tokens:
        return [*steps, ("Give the app on port 3000 an address, in another terminal:", agent)]
    if not facts.can_connect:
        place = f" --data-dir {shlex.quote(str(facts.config.data_dir))}" if "data_dir" in facts.config.given else ""
        what = "Make a token for a person whose agents may connect, in the dashboard or with:"
        steps.append((what, f"tunnelrelay token create --owner NAME{place}"))
    return [*steps, ("On the machine with the app, with such a token:", f"{agent} --authtoken TOKEN")]


def listening(name: tuple[str, int] | None) -> ListenAddress | None:
    """Convert a socket's host and port to a `ListenAddress`; None stays None."""
    return None if name is None else ListenAddress(*name)


def can_show(config: RelayConfig, *, is_terminal: bool) -> bool:
    """Whether the start screen is shown in place of the log records about the start."""
    return is_terminal and config.log_format == "text"
