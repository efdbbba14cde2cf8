"""Definitions of tunnels and endpoints that programs send to the local API, in ngrok's words.

What wrappers of `ngrok` send for themselves is left out, older names are replaced, and an endpoint of version 3 is put
into the words of a tunnel. `configfile` reads the result, so that nothing here decides what a key means or whether
there is such a key. Pure.
"""

from dataclasses import replace
from typing import Any

from tunnelctl.agent.configfile import read_definition
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.agent.yamlfile import Mapping, YamlEntry

FOR_WRAPPERS = frozenset(
    {
        "authtoken", "binPath", "configPath", "description", "host", "inspect", "onLogEvent", "onStatusChange",
        "onTerminated", "port", "region", "web_addr",
    }
)  # fmt: skip
"""Keys that npm's `ngrok` sends and means for itself, and such as say nothing about who is let in."""
OLD_PASSWORDS = ("auth", "httpauth")
"""Older names of `basic_auth`. npm's `ngrok` sends both with the same value."""
SCHEMES = {"true": ("https",), "false": ("http",), "both": ("http", "https")}
"""Of `bind_tls`, the older form of `schemes`."""
MAX_NAME = 255


class DefinitionInvalid(ValueError):
    """The tunnel cannot be had. The message is for people, with every mistake."""


def define(fields: Mapping, *, is_endpoint: bool, name: str = "") -> FileTunnel:
    """The tunnel that a definition asks for.

    Args:
        fields: As `yamlfile.parse_json` gives them.
        is_endpoint: They are an endpoint's, not a tunnel's.
        name: That of the tunnel where the definition need not say it.

    Raises:
        DefinitionInvalid: It asks for what cannot be.
    """
    fields = {key: entry for key, entry in fields.items() if key not in FOR_WRAPPERS}
    given = fields.pop("name", None)
    said = given.value if given is not None else None
    name = _name(name if said is None and name else said)
    try:
        fields = _renamed(fields)
        if is_endpoint:
            fields = _as_tunnel(fields)
    except _Mistake as mistake:
        raise DefinitionInvalid(str(mistake)) from None
    tunnel = read_definition(name, fields)
    if tunnel.problems:
        raise DefinitionInvalid("; ".join(tunnel.problems))
    return tunnel


class _Mistake(ValueError):
    """What is wrong with a definition."""


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise DefinitionInvalid("Tunnel declaration must contain a 'name'")
    if len(value) > MAX_NAME or not value.isprintable():
        raise DefinitionInvalid(f"a name has at most {MAX_NAME} characters, all of which can be shown")
    return value


def _renamed(fields: Mapping) -> Mapping:
    """The definition with today's names for what has older ones."""
    fields = dict(fields)
    old = [fields.pop(key) for key in OLD_PASSWORDS if key in fields]
    if old:
        if "basic_auth" in fields or any(one.value != old[0].value for one in old):
            raise _Mistake("auth, httpauth and basic_auth are names of one setting: give one of them")
        fields["basic_auth"] = replace(old[0], key="basic_auth")
    passwords = fields.get("basic_auth")
    if passwords is not None and isinstance(passwords.value, str) and passwords.value:
        fields["basic_auth"] = replace(passwords, value=(passwords.value,))
    if (bind_tls := fields.pop("bind_tls", None)) is not None:
        if "schemes" in fields or not isinstance(bind_tls.value, str) or bind_tls.value not in SCHEMES:
            raise _Mistake("bind_tls is true, false or both, and stands in place of schemes")
        fields["schemes"] = _entry("schemes", SCHEMES[bind_tls.value])
    return fields


def _as_tunnel(fields: Mapping) -> Mapping:
    """An endpoint's definition as a tunnel's."""
    fields = dict(fields)
    bindings = fields.pop("bindings", None)
    if bindings is not None and bindings.value != ("public",):
        raise _Mistake("bindings: every endpoint is public; say who gets in, with oidc or ip_restriction")
    upstream = fields.pop("upstream", None)
    if upstream is not None:
        if not isinstance(upstream.value, dict):
            raise _Mistake("upstream has a value of the wrong kind: it holds `url`")
        for key, entry in upstream.value.items():
            if key == "url" and "addr" not in fields:
                fields["addr"] = replace(entry, key="addr")
            elif not (key == "protocol" and entry.value == "http1"):
                raise _Mistake(f"upstream.{key} is not implemented here")
    url = fields.pop("url", None)
    if url is not None and url.value:
        scheme, _, rest = str(url.value).partition("://")
        if scheme in ("tcp", "tls") and "proto" not in fields:
            fields["proto"] = _entry("proto", scheme)
            if rest:
                fields["remote_addr"] = _entry("remote_addr", rest)
        else:
            fields["url"] = url
            if scheme == "http":
                fields.setdefault("schemes", _entry("schemes", ("http",)))
    return fields


def _entry(key: str, value: Any) -> YamlEntry:
    return YamlEntry(key, 1, value)
