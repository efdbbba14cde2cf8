"""From what was typed, the environment and the file to an `AgentConfig`: every mistake at once, each with its flag.

Flags and environment variables arrive here already merged (click does that, flag over variable); the file comes last.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar
from urllib.parse import urlsplit

from tunnelctl.agent.address import (
    DEFAULT_RELAY,
    AddressInvalid,
    RelayAddress,
    UpstreamAddress,
    parse_relay,
    parse_upstream,
)
from tunnelctl.agent.config import COMMAND_LINE, AgentConfig, TunnelConfig
from tunnelctl.agent.configfile import FileConfig, default_path, load
from tunnelctl.agent.joining import HINT, KEPT_AT_THE_RELAY, parse_labels
from tunnelctl.agent.options import RuleOptions
from tunnelctl.agent.rules import RulesInvalid, build_policy
from tunnelctl.agent.secretforms import SecretMissing, read_secret
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.wire.messages import PolicySpec

T = TypeVar("T")

ANY_UPSTREAM = UpstreamAddress("http", "localhost", 80)
"""Stands where there is none yet."""
ON_THE_COMMAND_LINE = "{} is on the command line, for every user to see: give it as env:NAME or file:PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelFlags:
    """What `tunnel http` or `tunnel tunnel` was given; "" and None for what it was not.

    Attributes:
        authtoken, oidc_client_secret: Forms of a secret, see `secretforms`.
        typed: Names of the parameters that stood on the command line itself.
        emptied: Those of them that were given the empty value, as `--oidc=$UNSET` is: a restriction may be meant.
    """

    address: str
    config_path: Path | None = None
    relay: str = ""
    relay_ca: str = ""
    authtoken: str = field(default="", repr=False)
    subdomain: str = ""
    domain: str = ""
    url: str = ""
    edge: str = ""
    labels: tuple[str, ...] = ()
    pooling: bool = False
    weight: int | None = None
    name: str = ""
    metadata: str = ""
    upstream_tls_verify: bool | None = None
    oidc_client_secret: str = field(default="", repr=False)
    rules: RuleOptions = field(default_factory=RuleOptions)
    typed: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to run.

    Attributes:
        file: For what concerns the log and the screen.
        notices: Warnings for a person, one line each.
    """

    agent: AgentConfig
    file: FileConfig
    notices: tuple[str, ...] = ()


class SettingsInvalid(Exception):
    """The settings cannot be used.

    Attributes:
        problems: One sentence each, beginning with the flag or the file's line.
        hint: What to do about them, "" when nothing comes to mind.
    """

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.hint = hint


def resolve(flags: TunnelFlags, *, environ: Mapping[str, str], stdin: TextIO) -> Settings:
    """The settings that flags, environment and file make together.

    Raises:
        SettingsInvalid: With every mistake.
    """
    return _Resolver(flags, environ, stdin).resolve()


class _Resolver:
    """Gathers problems and notices on the way."""

    def __init__(self, flags: TunnelFlags, environ: Mapping[str, str], stdin: TextIO) -> None:
        self._flags = flags
        self._environ = environ
        self._stdin = stdin
        self._problems: list[str] = []
        self._notices: list[str] = []
        self._hint = ""

    def resolve(self) -> Settings:
        flags = self._flags
        self._problems.extend(f"--{name.replace('_', '-')}: its value is empty" for name in sorted(flags.emptied))
        file = self._file()
        upstream = self._try("", lambda: parse_upstream(flags.address), ANY_UPSTREAM)
        relay_text, relay_from = self._first(("--relay", flags.relay), (f"{file.path}: connect_url", file.connect_url))
        relay = self._try(
            f"{relay_from}: ", lambda: parse_relay(relay_text or DEFAULT_RELAY), RelayAddress("http", "127.0.0.1", 8080)
        )
        token_text, token_from = self._first(
            ("--authtoken", flags.authtoken), (f"{file.path}: authtoken", file.authtoken)
        )
        token = self._secret(token_from, token_text, is_typed="authtoken" in flags.typed)
        relay_ca = self._readable(*self._first(("--relay-ca", flags.relay_ca), ("connect_cas", file.connect_cas)))
        tunnel = replace(
            self._joined() if flags.edge or flags.labels else self._published(),
            upstream=upstream,
            name=flags.name or COMMAND_LINE,
            weight=flags.weight or 1,
            metadata=flags.metadata,
            verify_upstream=flags.upstream_tls_verify,
        )
        if self._problems:
            raise SettingsInvalid(self._problems, self._hint)
        agent = AgentConfig(relay=relay, tunnels=(tunnel,), token=token, relay_ca=relay_ca)
        return Settings(agent=agent, file=file, notices=tuple(self._notices))

    def _file(self) -> FileConfig:
        given = self._flags.config_path
        path = given or default_path(self._environ)
        try:
            file = load(path, must_exist=given is not None)
        except FileInvalid as error:
            self._problems.extend(error.problems)
            return FileConfig(path=path)
        self._notices.extend(file.warnings)
        return file

    def _first(self, *sources: tuple[str, str]) -> tuple[str, str]:
        """The first value that was given, and where it comes from."""
        return next(((value, origin) for origin, value in sources if value), ("", sources[0][0]))

    def _published(self) -> TunnelConfig:
        """A tunnel with an address and rules of its own."""
        flags = self._flags
        if flags.weight is not None and not flags.pooling:
            self._problems.append("--weight: needs --pooling-enabled, or an edge")
        subdomain, host = self._names()
        return TunnelConfig(
            upstream=ANY_UPSTREAM, subdomain=subdomain, host=host, policy=self._policy(), pooling=flags.pooling
        )

    def _joined(self) -> TunnelConfig:
        """A tunnel that serves edges. What would be lost there is a mistake, wherever it comes from."""
        flags = self._flags
        named = {
            "subdomain": flags.subdomain,
            "domain": flags.domain,
            "url": flags.url,
            "pooling-enabled": flags.pooling,
        }
        rules = replace(flags.rules, oidc_client_secret=flags.oidc_client_secret)
        lost = [*(f"--{name}" for name, value in named.items() if value), *rules.given()]
        if lost:
            this = "--edge" if flags.edge else "--label"
            self._problems.append(f"{', '.join(lost)}: not together with {this}; {KEPT_AT_THE_RELAY}")
            self._hint = HINT
        labels = parse_labels("--label", flags.labels, self._problems)
        return TunnelConfig(upstream=ANY_UPSTREAM, edge=flags.edge.strip(), labels=labels)

    def _names(self) -> tuple[str | None, str | None]:
        flags = self._flags
        given = [name for name in ("subdomain", "domain", "url") if getattr(flags, name)]
        if len(given) > 1:
            self._problems.append(f"{' and '.join(f'--{name}' for name in given)}: only one of them names the address")
        if flags.url:
            return None, self._try("--url: ", lambda: host_of_url(flags.url), None)
        if flags.domain:
            return None, self._try("--domain: ", lambda: host_name(flags.domain), None)
        return (self._try("--subdomain: ", lambda: label(flags.subdomain), None) if flags.subdomain else None), None

    def _policy(self) -> PolicySpec:
        secret = self._secret(
            "--oidc-client-secret", self._flags.oidc_client_secret, is_typed="oidc_client_secret" in self._flags.typed
        )
        rules = self._flags.rules
        pairs = tuple(
            self._secret("--basic-auth", text, is_typed=True, stand_in="un:readable") for text in rules.basic_auth
        )
        try:
            return build_policy(replace(rules, oidc_client_secret=secret, basic_auth=pairs))
        except RulesInvalid as error:
            self._problems.extend(error.problems)
            return PolicySpec()

    def _secret(self, what: str, text: str, *, is_typed: bool, stand_in: str = "unreadable") -> str:
        if not text:
            return ""
        try:
            secret = read_secret(text, what=what, environ=self._environ, stdin=self._stdin)
        except SecretMissing as error:
            self._problems.append(str(error))
            return stand_in  # given, so not to be reported as missing as well
        if secret.is_literal and is_typed:
            self._notices.append(ON_THE_COMMAND_LINE.format(what))
        return secret.value

    def _readable(self, path: str, origin: str) -> str | None:
        if not path:
            return None
        expanded = os.path.expanduser(path)
        if not os.access(expanded, os.R_OK) or os.path.isdir(expanded):
            self._problems.append(f"{origin}: cannot read {path}")
        return expanded

    def _try(self, prefix: str, parse: Callable[[], T], otherwise: T) -> T:
        try:
            return parse()
        except AddressInvalid as error:
            self._problems.append(f"{prefix}{error}")
            return otherwise


def host_of_url(text: str) -> str | None:
    """The host that `https://demo.tun.example`, `demo.tun.example` or `https://` (any: None) asks for.

    Raises:
        AddressInvalid: It is no public address of an HTTP endpoint.
    """
    scheme, colon, rest = text.strip().partition("://")
    if colon and scheme not in ("http", "https"):
        raise AddressInvalid(f"{text}: only http:// and https:// addresses can be served")
    authority = rest if colon else scheme
    if not authority:
        return None
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # accepted as we print it; the relay decides the port
    except ValueError as error:
        raise AddressInvalid(f"{text}: not an address ({error})") from None
    if parts.path or parts.query or parts.fragment or "@" in authority:
        raise AddressInvalid(f"{text}: a public address ends after the host")
    return host_name(parts.hostname or "")


def host_name(text: str) -> str:
    """A whole host name, lower-case.

    Raises:
        AddressInvalid: It is none.
    """
    host = text.strip().lower().rstrip(".")
    if not host or len(host) > 253 or not all(_is_label(part) for part in host.split(".")):
        raise AddressInvalid(f"{text!r} is not a host name")
    return host


def label(text: str) -> str:
    """One label of a host name, lower-case.

    Raises:
        AddressInvalid: It is none.
    """
    name = text.strip().lower()
    if not _is_label(name):
        raise AddressInvalid(f"{text!r} is not a name of letters, digits and inner hyphens, at most 63 long")
    return name


def _is_label(text: str) -> bool:
    inner = text.replace("-", "")
    return 0 < len(text) <= 63 and inner.isascii() and inner.isalnum() and text[0] != "-" and text[-1] != "-"


def typed_parameters(context: Any) -> frozenset[str]:
    """Names of the parameters that stood on the command line, and not in the environment."""
    return frozenset(
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    )
