"""Reads definitions of tunnels and endpoints that programs send to the local API, in ngrok's schema.

Keys that wrappers of `ngrok` use only for themselves are left out. `configfile` reads the rest, so that this module
decides neither which keys exist nor what they mean.
"""

from dataclasses import replace
from typing import Any

from tunnelctl.agent.configfile import read_definition
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.agent.yamlfile import Mapping

FOR_WRAPPERS = frozenset(
    {
        "authtoken", "binPath", "configPath", "host", "onLogEvent", "onStatusChange", "onTerminated", "port",
        "web_addr",
    }
)  # fmt: skip
"""Keys that npm's `ngrok` package sends but uses only itself."""
MAX_NAME = 255


class DefinitionInvalid(ValueError):
    """The tunnel cannot be created. The message is for display and lists every mistake."""


def define(fields: Mapping, *, is_endpoint: bool, name: str = "") -> FileTunnel:
    """Return the tunnel that a definition describes.

    Args:
        fields: The definition, as parsed by `yamlfile.parse_json`.
        is_endpoint: The definition is an endpoint's, not a tunnel's.
        name: Name of the tunnel if the definition has none.

    Raises:
        DefinitionInvalid: The definition has mistakes.
    """
    fields = {key: entry for key, entry in fields.items() if key not in FOR_WRAPPERS}
    given = fields.pop("name", None)
    said = given.value if given is not None else None
    name = _name(name if said is None and name else said)
    tunnel = read_definition(name, _in_the_files_words(fields), is_endpoint=is_endpoint)
    if tunnel.problems:
        raise DefinitionInvalid("; ".join(tunnel.problems))
    return tunnel


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise DefinitionInvalid("Tunnel declaration must contain a 'name'")
    if len(value) > MAX_NAME or not value.isprintable():
        raise DefinitionInvalid(f"a name has at most {MAX_NAME} characters, all of which can be shown")
    return value


def _in_the_files_words(fields: Mapping) -> Mapping:
    """Return the definition in the form of the configuration file: npm's `ngrok` sends one password under two names,
    and not in a list.
    """
    words = dict(fields)
    httpauth = words.pop("httpauth", None)
    if httpauth is not None and ("auth" not in words or words["auth"].value != httpauth.value):
        words["httpauth" if "auth" in words else "auth"] = httpauth
    passwords = words.get("basic_auth")
    if passwords is not None and isinstance(passwords.value, str) and passwords.value:
        words["basic_auth"] = replace(passwords, value=(passwords.value,))
    return words
