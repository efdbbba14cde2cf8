"""Checks a token's ACL: rules such as `bind:pr-*` on what it may bind. Pure.

    *                        everything
    bind:demo.tun.example    a host; `*` stands for any part of one label, as in bind:*.tun.example
    bind:pr-*                the same for the name under the relay's domain
    bind:*:20022             a tcp port: host and port, either of which may be `*`, as in bind:tun.example:*
    bind:edge=edghts_2abc    a label, `*` standing for any part of its value; an edge that is joined by its name counts
                             as its label `edge`

Without rules a token may bind everything its owner may. A rule in any other form allows nothing.
"""

import re
from collections.abc import Iterable

from tunnelrelay.address import TCP

EVERYTHING = "*"
PREFIX = "bind:"
MAX_RULE = 600
"""Characters: a label's name and value of 256 each fit."""
_HOST = re.compile(r"[a-z0-9*](?:[a-z0-9*.-]{0,251}[a-z0-9*])?")
_PORT = re.compile(r"[0-9*]{1,5}")
_ANY_PORT = re.compile("[0-9]+")


def may_bind(acl: Iterable[str], host: str, label: str, labels: Iterable[tuple[str, str]] = ()) -> bool:
    """Whether a token with these rules may serve a host or carry these labels.

    Args:
        host: The whole name, canonical, or `tcp://DOMAIN:PORT`; "" for a tunnel that joins edges.
        label: The host without the relay's domain. A tcp port has none.
        labels: Labels of a joining tunnel. Each must be allowed, as each could match an edge alone.
    """
    rules = tuple(acl)
    if not rules or EVERYTHING in rules:
        return True
    targets = [rule.removeprefix(PREFIX) for rule in rules if rule.startswith(PREFIX)]
    carried = tuple(labels)
    if carried:
        return all(any(_carries(target, name, value) for target in targets) for name, value in carried)
    if host.startswith(TCP):
        domain, _, port = host.removeprefix(TCP).rpartition(":")
        return port_rule(rules, domain).fullmatch(port) is not None
    return bool(host) and any(_admits(target, host, label) for target in targets)


def port_rule(acl: Iterable[str], domain: str) -> re.Pattern[str]:
    """What the number of a tcp port of this domain is like that a token with these rules may serve.

    One pattern for all rules, as it is held against every port of a range. Ports have five digits, which no pattern
    takes long for.
    """
    rules = tuple(acl)
    if not rules or EVERYTHING in rules:
        return _ANY_PORT
    targets = [rule.removeprefix(PREFIX).rpartition(":") for rule in rules if rule.startswith(PREFIX)]
    ports = {port for host, _, port in targets if host == "*" or (host and _admits(host, domain, domain))}
    forms = sorted(port.replace("*", "[0-9]*") for port in ports if _PORT.fullmatch(port))
    return re.compile("|".join(forms) or "(?!)")


def acl_problem(rule: str) -> str:
    """Why this cannot be a rule, "" when it can."""
    if rule == EVERYTHING:
        return ""
    target = rule.removeprefix(PREFIX)
    if not rule.startswith(PREFIX) or not target:
        return f"{rule[:80]!r} is no rule: write bind:NAME, bind:HOST, bind:HOST:PORT, bind:LABEL=VALUE or *"
    if len(rule) > MAX_RULE or not rule.isprintable():
        return f"{rule[:80]!r} is longer than {MAX_RULE} characters, or holds one that cannot be shown"
    name, is_label, value = target.partition("=")
    if is_label:
        return "" if name.strip() == name != "" and value.strip() == value != "" else f"{rule[:80]!r} has half a label"
    host, is_port, port = target.rpartition(":")
    if is_port and not _PORT.fullmatch(port):
        return f"{rule[:80]!r} names no port: write bind:HOST:PORT, either of which may be *"
    if not _HOST.fullmatch((host if is_port else target).lower()) or ".." in target:
        return f"{rule[:80]!r} names no host: letters, digits, '-' and '.', and '*' for any part of a label"
    return ""


def _admits(target: str, host: str, label: str) -> bool:
    """Whether a pattern of a host, or of a name under the domain, matches. `*` never reaches over a dot."""
    if "=" in target:
        return False
    patterns, labels = target.lower().split("."), host.split(".") if "." in target else [label]
    return len(patterns) == len(labels) and all(map(_matches, patterns, labels))


def _carries(target: str, name: str, value: str) -> bool:
    """Whether a rule on labels allows this one."""
    allowed, is_label, pattern = target.partition("=")
    return bool(is_label) and allowed == name and _matches(pattern, value)


def _matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches the pattern, in which `*` matches anything.

    Not a regular expression: owners choose both pattern and text, and one with many stars takes exponential time.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:  # the first place of each leaves the most for the rest
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
