"""Reads tunnels of the configuration file, in ngrok's schema.

They are in the mapping `tunnels:`, each with its name, or in the list `endpoints:` of version 3. Keys of an endpoint,
and older keys, are first converted to those of a tunnel (`in_tunnel_words`).

An unknown key is an error of the whole file. An invalid value, a missing one (an empty list of passwords was meant as a
restriction), and features that only ngrok has are problems of their tunnel: it is never started, but the others can be.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tunnelctl.agent.unsupported import INSTEAD
from tunnelctl.agent.yamlfile import Mapping as Entries
from tunnelctl.agent.yamlfile import YamlEntry
from tunnelctl.policy.fields import FIELDS, PolicyField
from tunnelctl.policy.parse import PolicyTexts

Kind = Literal["text", "list", "switch", "number"]
At = Callable[[YamlEntry, str], str]
"""Function that prefixes a problem with file and line of an entry."""
Report = Callable[[YamlEntry, str], None]
"""Function that receives a problem with an entry."""
ReportUnknown = Callable[[YamlEntry, str, str], str]
"""Function that receives an unknown key, the keys that lead to it, and the part of these keys that is inside the
definition. Returns the problem if only this tunnel has it, "" if it was reported for the whole file."""

OWN: dict[str, tuple[str, Kind]] = {
    "addr": ("addr", "text"),
    "subdomain": ("subdomain", "text"),
    "domain": ("domain", "text"),
    "hostname": ("domain", "text"),
    "url": ("url", "text"),
    "schemes": ("schemes", "list"),
    "remote_addr": ("remote_addr", "text"),
    "labels": ("labels", "list"),
    "edge": ("edge", "text"),
    "pooling_enabled": ("pooling", "switch"),
    "weight": ("weight", "number"),
    "description": ("description", "text"),
    "metadata": ("metadata", "text"),
    "proxy_proto": ("proxy_protocol", "text"),
    "verify_upstream_tls": ("upstream_tls_verify", "switch"),
    "inspect": ("inspect", "switch"),
}
"""Maps a tunnel's key in the file to the member of `FileTunnel` that it sets, and the kind of its value."""
RULES: Mapping[str, PolicyField] = {row.key: row for row in FIELDS if row.key}
"""Maps a tunnel's key in the file to a setting of the policy; a dot in the key leads into a nested mapping."""
TUNNEL_KEYS = (*OWN, "proto", *RULES)
ENDPOINT_KEYS = ("name", "upstream.url", "upstream.protocol", "bindings")
"""Keys that an endpoint has in addition to a tunnel's keys."""
DEFINITION_KEYS = frozenset({*TUNNEL_KEYS, *ENDPOINT_KEYS, "upstream", "auth", "bind_tls", "binding"})
SCHEMES = {"true": ("https",), "false": ("http",), "both": ("http", "https")}
"""Maps the values of `bind_tls`, an older key, to the values of `schemes`."""
INNER = {key.partition(".")[0] for key in RULES if "." in key}
"""Keys of a tunnel whose value is a mapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTunnel:
    """A tunnel in the configuration file; "", () and None for missing keys.

    Attributes:
        policy: Rules, with secrets in the forms of the file (`env:`, `file:`).
        problems: Why it cannot be started, each with file and line. Other members may then be incomplete.
        where: File, line and keys that lead to it, for display.
    """

    name: str
    addr: str = ""
    is_tcp: bool = False
    remote_addr: str = ""
    subdomain: str = ""
    domain: str = ""
    url: str = ""
    schemes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    edge: str = ""
    pooling: bool = False
    weight: int | None = None
    description: str = ""
    metadata: str = ""
    upstream_tls_verify: bool | None = None
    proxy_protocol: str = ""
    inspect: bool = True
    policy: PolicyTexts = field(default_factory=PolicyTexts)
    problems: tuple[str, ...] = ()
    where: str = field(default="", compare=False)


def read_tunnels(entry: YamlEntry, at: At, report: Report, report_unknown: ReportUnknown) -> tuple[FileTunnel, ...]:
    """Return the tunnels of the `tunnels` entry; those that cannot be started have problems.

    Args:
        report: Receives problems with the entry itself.
    """
    if not entry.value:
        return ()
    if not isinstance(entry.value, dict):
        report(entry, "tunnels has a value of the wrong kind: it holds names, and below each what the tunnel is")
        return ()
    found = []
    for one in entry.value.values():
        if isinstance(one.value, dict):
            found.append(read_definition_at(one, "tunnels", at, report_unknown))
        else:
            what = f"tunnels.{one.key} has a value of the wrong kind: it needs at least `addr:`"
            found.append(FileTunnel(name=one.key, problems=(at(one, what),), where=at(one, f"tunnels.{one.key}")))
    return tuple(found)


def read_endpoints(items: Iterable[YamlEntry], at: At, report_unknown: ReportUnknown) -> tuple[FileTunnel, ...]:
    """Return the tunnels in the list `endpoints`; those that cannot be started have problems."""
    found = []
    for item in items:
        entries = dict(item.value) if isinstance(item.value, dict) else {}
        given = entries.pop("name", None)
        name = given.value if given is not None and isinstance(given.value, str) else ""
        named = replace(item, key=name or "(endpoint without a name)", value=entries)
        tunnel = read_definition_at(named, "endpoints", at, report_unknown)
        missing = () if name else (at(item, "an endpoint needs a `name:`"),)
        found.append(replace(tunnel, problems=(*missing, *tunnel.problems)))
    return tuple(found)


def read_definition_at(entry: YamlEntry, place: str, at: At, report_unknown: ReportUnknown) -> FileTunnel:
    """Return the tunnel that one entry defines: its key is the tunnel's name, its value has the tunnel's keys.

    Args:
        place: `tunnels` or `endpoints`.
    """
    entries = entry.value if isinstance(entry.value, dict) else {}
    own: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    problems: list[str] = []
    keys = f"{place}.{entry.key}"

    def report(one: YamlEntry, what: str) -> None:
        problems.append(at(one, what))

    words = in_tunnel_words(entries, report)
    for path, one in _flat(words).items():
        if path in OWN:
            _fill(own, *OWN[path], one, report)
        elif path in RULES:
            _fill(rules, RULES[path].path, _kind_of(RULES[path]), one, report)
        elif path == "proto":
            own["is_tcp"] = _is_tcp(one, report)
        elif path in INNER:
            report(one, f"{keys}.{path} has no value, or one of the wrong kind")
        else:
            above = path.rpartition(".")[0]
            what = report_unknown(one, f"{keys}.{above}{'.' if above else ''}", above)
            if what:
                report(one, what)
    if "addr" not in words:
        report(entry, f"{keys}: {'addr' if place == 'tunnels' else 'upstream.url'} is missing")
    where = at(entry, keys)
    return FileTunnel(name=entry.key, policy=_texts(rules), problems=tuple(problems), where=where, **own)


def in_tunnel_words(entries: Entries, report: Report) -> Entries:
    """Convert a definition to the present keys of a tunnel: an endpoint's `upstream.url`, for example, becomes `addr`.

    Args:
        report: Receives problems with unsupported values.
    """
    words = dict(entries)
    _move_older_keys(words, report)
    _move_upstream(words, report)
    for key in ("binding", "bindings"):
        bindings = words.pop(key, None)
        if bindings is not None and bindings.value not in ("public", ("public",)):
            report(bindings, f"{key}: every endpoint is public; say who gets in, with oidc or ip_restriction")
    url = words.get("url")
    scheme, _, rest = str(url.value).partition("://") if url is not None else ("", "", "")
    if url is not None and not url.value:
        del words["url"]  # an endpoint may have any URL
    elif url is not None and scheme in ("tcp", "tls") and "proto" not in words:
        words["proto"] = replace(url, value=scheme)
        del words["url"]
        if rest:
            words["remote_addr"] = replace(url, value=rest)
    elif url is not None and scheme == "http":
        words.setdefault("schemes", replace(url, key="schemes", value=("http",)))
    return words


def _move_older_keys(words: Entries, report: Report) -> None:
    auth, bind_tls = words.pop("auth", None), words.pop("bind_tls", None)
    for key, nothing in (("app_protocol", "http1"), ("proxy_proto", "")):
        if key in words and words[key].value == nothing:
            del words[key]
    if auth is not None and "basic_auth" in words:
        report(auth, "auth and basic_auth are names of one setting: give one of them")
    elif auth is not None:
        words["basic_auth"] = replace(auth, value=(auth.value,) if auth.value and isinstance(auth.value, str) else None)
    if bind_tls is None:
        return
    schemes = SCHEMES.get(bind_tls.value.lower()) if isinstance(bind_tls.value, str) else None
    if schemes is None or "schemes" in words:
        report(bind_tls, "bind_tls is true, false or both, and stands in place of schemes")
    else:
        words["schemes"] = replace(bind_tls, value=schemes)


def _move_upstream(words: Entries, report: Report) -> None:
    upstream = words.pop("upstream", None)
    if upstream is None:
        return
    if not isinstance(upstream.value, dict):
        report(upstream, "upstream has a value of the wrong kind: it holds `url`")
        return
    for key, entry in upstream.value.items():
        if key == "url" and "addr" in words:
            report(entry, "upstream.url says what addr has said already")
        elif key == "url":
            words["addr"] = replace(entry, key="upstream.url")
        elif key == "protocol":
            if entry.value not in ("http1", "", None):
                report(entry, f"upstream.protocol is not implemented here; {INSTEAD['upstream_protocol']}")
        elif key == "proxy_protocol" and "proxy_proto" not in words:
            words["proxy_proto"] = replace(entry, key="upstream.proxy_protocol")
        else:
            words[f"upstream.{key}"] = entry


def _kind_of(row: PolicyField) -> Kind:
    return "list" if row.is_list else "switch" if row.kind == "switch" else "text"


def _texts(rules: Mapping[str, Any]) -> PolicyTexts:
    """Return the values of the rules as a user would type them as flags; a switch that is off is left out."""
    texts = {path: ("true",) if value is True else value for path, value in rules.items() if value is not False}
    each = {path: (value,) if isinstance(value, str) else value for path, value in texts.items()}
    return PolicyTexts(tuple((path, text) for path, values in each.items() for text in values))


def _flat(entries: Mapping[str, YamlEntry]) -> dict[str, YamlEntry]:
    """Return every entry by its path; entries inside a known mapping get their own paths."""
    flat: dict[str, YamlEntry] = {}
    for key, entry in entries.items():
        if key in INNER and isinstance(entry.value, dict) and entry.value:
            flat |= {f"{key}.{name}": inner for name, inner in entry.value.items()}
        else:
            flat[key] = entry
    return flat


def _fill(members: dict[str, Any], member: str, kind: Kind, entry: YamlEntry, report: Report) -> None:
    value = entry.value
    if value in (None, "", ()):
        report(entry, f"{entry.key} has no value")
    elif member in members:
        report(entry, f"{entry.key} says what another key has said already")
    elif (read := _read(kind, value)) is None:
        report(entry, f"{entry.key} has a value of the wrong kind")
    else:
        members[member] = read


def _read(kind: Kind, value: Any) -> Any:
    """Return the value; None when it has another type."""
    if kind == "list":
        return value if isinstance(value, tuple) and all(value) else None
    if not isinstance(value, str):
        return None
    match kind:
        case "switch":
            return {"true": True, "false": False}.get(value.lower())
        case "number":
            return int(value) if value.isascii() and value.isdigit() and 1 <= int(value[:4]) <= 100 else None
        case _:
            return value


def _is_tcp(entry: YamlEntry, report: Report) -> bool:
    if entry.value not in ("http", "tcp"):
        report(entry, f"proto: invalid protocol name {entry.value!r}, only http and tcp can be served")
    return entry.value == "tcp"
