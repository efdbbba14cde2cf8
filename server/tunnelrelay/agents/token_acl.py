"""Checks a token's ACL: rules such as `bind:pr-*` on what the token may bind. Pure.

    *                        everything
    bind:demo.tun.example    a host; `*` stands for any part of one label, as in bind:*.tun.example
    bind:pr-*                a name under the relay's domain, with the same `*`
    bind:*:20022             a tcp port: host and port, either of which may be `*`, as in bind:tun.example:*
    bind:edge=edghts_2abc    a label; `*` stands for any part of its value. A tunnel that joins an edge by the edge's
                             name has the label `edge` with the edge's id

Without rules a token may bind everything that its owner may. A rule in any other form allows nothing.
"""

import re
from collections.abc import Iterable, Sequence

from tunnelrelay.address import TCP

EVERYTHING = "*"
PREFIX = "bind:"
MAX_RULES = 100
"""Rules that one ACL may have. Every bind is compared with all of them."""
MAX_RULE = 600
"""Characters of one rule: the longest label, with a name and a value of 256 each, fits."""
_HOST = re.compile(r"[a-z0-9*](?:[a-z0-9*.-]{0,251}[a-z0-9*])?")
_PORT = re.compile(r"[0-9*]{1,5}")
_ANY_PORT = re.compile("[0-9]+")


def may_bind(acl: Iterable[str], host: str, label: str, labels: Iterable[tuple[str, str]] = ()) -> bool:
    """Whether a token with these rules may bind a host, or a tunnel with these labels.

    Args:
        host: The whole canonical host, or `tcp://DOMAIN:PORT`; "" for a tunnel that joins edges.
        label: The host without the relay's domain; not used for a tcp port.
        labels: The labels of a tunnel that joins edges. All must be allowed, as any of them could match an edge.
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
    """Return a pattern of the tcp port numbers that a token with these rules may bind at this domain.

    It is one pattern for all rules, as it is matched with every port of a range. A port has at most five digits, so
    that no pattern takes long.
    """
    rules = tuple(acl)
    if not rules or EVERYTHING in rules:
        return _ANY_PORT
    targets = [rule.removeprefix(PREFIX).rpartition(":") for rule in rules if rule.startswith(PREFIX)]
    ports = {port for host, _, port in targets if host == "*" or (host and _admits(host, domain, domain))}
    forms = sorted(port.replace("*", "[0-9]*") for port in ports if _PORT.fullmatch(port))
    return re.compile("|".join(forms) or "(?!)")


def acl_problems(acl: Sequence[str]) -> str:
    """Return the problems of an ACL's rules as one text; "" when there are none."""
    problems = [problem for rule in acl[:MAX_RULES] if (problem := acl_problem(rule))]
    if len(acl) > MAX_RULES:
        problems.append(f"at most {MAX_RULES} rules")
    return "; ".join(problems[:3])


def acl_problem(rule: str) -> str:
    """Return why a text cannot be a rule of an ACL, or "" when it can."""
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
    """Whether a rule's pattern allows a host.

    A pattern with a dot is compared with the whole host, any other with the name under the relay's domain (`label`).
    `*` matches within one DNS label, never across a dot.
    """
    if "=" in target:
        return False
    patterns, labels = target.lower().split("."), host.split(".") if "." in target else [label]
    return len(patterns) == len(labels) and all(map(_matches, patterns, labels))


def _carries(target: str, name: str, value: str) -> bool:
    """Whether a rule's `NAME=PATTERN` allows a label of this name and value."""
    allowed, is_label, pattern = target.partition("=")
    return bool(is_label) and allowed == name and _matches(pattern, value)


def _matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches the pattern, in which `*` matches any characters.

    A regular expression would not do: owners choose pattern and text, and many stars could take exponential time.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:  # the leftmost match of each part leaves the most text for the parts after it
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
