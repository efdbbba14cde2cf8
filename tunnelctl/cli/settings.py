"""Turns flags, environment and file into an `AgentConfig`, and reports all mistakes at once, each with its flag.

Flags and environment variables are already merged (click does that, flags first); the file has the lowest precedence.
"""

import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TextIO, TypeVar

import msgspec

from tunnelctl.agent.address import (
    DEFAULT_RELAY,
    AddressInvalid,
    RelayAddress,
    UpstreamAddress,
    parse_relay,
    parse_remote_addr,
    parse_tcp_upstream,
    parse_upstream,
)
from tunnelctl.agent.config import COMMAND_LINE, AgentConfig, TunnelConfig
from tunnelctl.agent.configfile import FileConfig
from tunnelctl.agent.connector import path_problem
from tunnelctl.agent.definition import DefinitionInvalid
from tunnelctl.agent.edge_labels import HINT, KEPT_AT_THE_RELAY, parse_labels
from tunnelctl.agent.hostnames import PublicUrl, host_name, label, parse_public_url
from tunnelctl.agent.job_identity import AUTHTOKEN, JobIdentity, job_identity
from tunnelctl.agent.proxy_header import ProxyVersion
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.cli.flag_values import StartFlags, TunnelFlags, flags_of
from tunnelctl.inspector.store import DEFAULT_BYTES
from tunnelctl.link.proxy import Proxy, ProxyInvalid, choose_proxy
from tunnelctl.localapi.address import WebAddress, WebAddressInvalid, parse_web_addr
from tunnelctl.nearest import nearest
from tunnelctl.policy.check import OF_CONNECTIONS
from tunnelctl.policy.fields import BY_PATH, FLAGS, KEYS, PolicyField
from tunnelctl.policy.parse import PolicyTextsInvalid, build_policy
from tunnelctl.secret_source import SecretMissing, names_a_source, read_secret
from tunnelctl.wire.messages import PolicySpec
from tunnelctl.wire.problem import Problem

T = TypeVar("T")

ANY_UPSTREAM = UpstreamAddress("http", "localhost", 80)
"""Placeholder for a missing upstream address."""
LOGIN_VARIABLE = BY_PATH["oidc.issuer"].variable
"""Variable with which a user may require logins everywhere; where it cannot apply, it must not be ignored."""
STANDARD_INPUT = "user:not-read-for-a-check\n" * 100
"""Placeholder for secrets that `-` in a file would read from standard input."""
TCP_HINT = "nothing of a tcp connection is looked at but where it comes from: say who gets in with --cidr-allow"
PROXY_VERSIONS: Mapping[str, ProxyVersion] = {"": 0, "0": 0, "1": 1, "2": 2}
SECRET_KINDS = ("secret", "password")
ON_THE_COMMAND_LINE = "{} is on the command line, for every user to see: give it as env:NAME or file:PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The checked settings of a run.

    Attributes:
        file: The configuration file, for settings of the log and the screen.
        web: Address of the local API; None for none.
        inspect_bytes: Maximum bytes of captured exchanges in memory; 0 for no capturing.
        notices: Warnings for people, one line each.
    """

    agent: AgentConfig
    file: FileConfig
    web: WebAddress | None = None
    inspect_bytes: int = DEFAULT_BYTES
    notices: tuple[str, ...] = ()


class SettingsInvalid(Exception):
    """The settings are invalid.

    Attributes:
        problems: Descriptions, one sentence each, which begin with the flag or the line of the file.
        hint: Advice; "" without any.
    """

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.hint = hint


def refused_definitions(file: FileConfig, environ: Mapping[str, str]) -> list[str]:
    """Return why tunnels of the file cannot be started, as `tunnel start` would report it in this environment."""
    resolver = _Resolver(StartFlags(), environ, io.StringIO(STANDARD_INPUT))
    return [problem for one in file.tunnels for problem in resolver.defined(one)[1]]


def build_tunnel(definition: FileTunnel, environ: Mapping[str, str]) -> TunnelConfig:
    """Return the tunnel that a program asks for through the local API.

    Any user of this machine may send such a definition, so no file and no variable of the agent is read for it.

    Raises:
        DefinitionInvalid: The tunnel cannot be created.
    """
    secrets = [(path, text) for path, text in definition.policy.entries if BY_PATH[path].kind in SECRET_KINDS]
    if hidden := sorted({KEYS[path] for path, text in secrets if text == "-" or names_a_source(text)}):
        raise DefinitionInvalid(f"{', '.join(hidden)}: give the value itself, env:, file: and - are not read here")
    if environ.get(LOGIN_VARIABLE) and not definition.policy.of("oidc.issuer"):
        raise DefinitionInvalid(f"{LOGIN_VARIABLE} has visitors log in, and this tunnel has no oidc.issuer_url")
    config, problems = _Resolver(StartFlags(), {}, io.StringIO()).defined(definition)
    if problems:
        raise DefinitionInvalid("; ".join(problems))
    return config


def resolve(flags: TunnelFlags | StartFlags, *, environ: Mapping[str, str], stdin: TextIO) -> Settings:
    """Combine flags, environment and file to the settings.

    Raises:
        SettingsInvalid: Lists every mistake.
    """
    return _Resolver(flags, environ, stdin).resolve()


class _Resolver:
    """Combines the settings, and collects problems and notices."""

    def __init__(self, flags: TunnelFlags | StartFlags, environ: Mapping[str, str], stdin: TextIO) -> None:
        self._flags = flags
        self._environ = environ
        self._stdin = stdin
        self._problems: list[str] = []
        self._notices: list[str] = []
        self._hint = ""

    def resolve(self) -> Settings:
        flags = self._flags
        self._problems.extend(f"--{name.replace('_', '-')}: its value is empty" for name in sorted(flags.emptied))
        self._check_login_variable(flags)
        file = self._file()
        relay_text, relay_from = self._first(("--relay", flags.relay), (file.where("connect_url"), file.connect_url))
        relay = self._try(
            f"{relay_from}: ", lambda: parse_relay(relay_text or DEFAULT_RELAY), RelayAddress("http", "127.0.0.1", 8080)
        )
        token_text, token_from = self._first(
            ("--authtoken", flags.authtoken), (file.where("authtoken"), file.authtoken)
        )
        job = self._job(token_from) if token_text == AUTHTOKEN else None
        token = "" if job else self._secret(token_from, token_text, is_typed="authtoken" in flags.typed)
        relay_ca = self._readable(*self._first(("--relay-ca", flags.relay_ca), ("connect_cas", file.connect_cas)))
        proxy = self._proxy(relay, file)
        tunnels = self._asked_for(flags, file)
        web = self._web(file)
        inspect_bytes = self._inspect_bytes(file)
        if self._problems:
            raise SettingsInvalid(self._problems, self._hint)
        if not relay_text:
            relay_from = ""
        elif flags.relay and "relay" not in flags.typed:
            relay_from = "TUNNELCTL_RELAY"
        agent = AgentConfig(
            relay=relay, relay_from=relay_from, tunnels=tunnels, token=token, job=job, relay_ca=relay_ca, proxy=proxy
        )
        return Settings(agent=agent, file=file, web=web, inspect_bytes=inspect_bytes, notices=tuple(self._notices))

    def _job(self, origin: str) -> JobIdentity | None:
        """Return the CI job in which this process runs; None without one."""
        job = job_identity(self._environ)
        if job is None:
            self._problems.append(f"{origin}: {AUTHTOKEN} stands for a CI job's ID token, and this is no job")
            self._hint = "GitHub Actions and GitLab CI have them; elsewhere give an authtoken"
        return job

    def _check_login_variable(self, flags: TunnelFlags | StartFlags) -> None:
        """Refuse a login in the environment that would have no effect: the command has no such flag, or the value is
        empty.

        The value is empty when a CI job sets the variable from another one that does not exist.
        """
        issuer = self._environ.get(LOGIN_VARIABLE)
        if isinstance(flags, StartFlags) or flags.labels or flags.is_tcp:
            if issuer:
                text = f"{LOGIN_VARIABLE}: this command takes no --oidc, and visitors would not have to log in"
                self._problems.append(text)
                self._hint = f"unset it; {HINT if isinstance(flags, TunnelFlags) else 'the file says who is let in'}"
        elif issuer == "" and not flags.edge and "oidc" not in flags.typed:
            self._problems.append(f"{LOGIN_VARIABLE}: its value is empty, and visitors would not have to log in")
            self._hint = "give it the issuer, or unset it"

    def _asked_for(self, flags: TunnelFlags | StartFlags, file: FileConfig) -> tuple[TunnelConfig, ...]:
        if isinstance(flags, TunnelFlags):
            return (self._tunnel(flags),)
        return () if flags.none else self._tunnels(file, flags.names)

    def _proxy(self, relay: RelayAddress, file: FileConfig) -> Proxy | None:
        flag = self._flags.proxy_url
        text, origin = self._first(("--proxy-url", flag), (file.where("proxy_url"), file.proxy_url))
        given = self._secret(origin, text, is_typed="proxy_url" in self._flags.typed and "@" in flag)
        try:
            return choose_proxy(relay.url, self._environ, given, origin)
        except ProxyInvalid as error:
            self._problems.append(str(error))
            return None

    def _web(self, file: FileConfig) -> WebAddress | None:
        try:
            web = parse_web_addr(file.web_addr)
        except WebAddressInvalid as error:
            self._problems.append(f"{file.where('web_addr')}: {error}")
            return None
        if web is not None and not web.is_loopback:
            self._notices.append(f"web_addr: who reaches {file.web_addr} can publish ports of this machine")
        return web

    def _inspect_bytes(self, file: FileConfig) -> int:
        """Return the maximum bytes of captured exchanges.

        In the file 0 means the default and -1 none, as in ngrok's.
        """
        text = file.inspect_db_size or "0"
        if not re.fullmatch(r"-1|[0-9]{1,12}", text):
            self._problems.append(f"{file.where('inspect_db_size')}: a number of bytes, 0 for 50 MB, -1 for none")
            return DEFAULT_BYTES
        return 0 if text == "-1" else int(text) or DEFAULT_BYTES

    def _file(self) -> FileConfig:
        try:
            file = self._flags.config.load()
        except FileInvalid as error:
            if not self._problems:
                self._hint = "put the file right, or name another with --config"
            self._problems.extend(error.problems)
            return FileConfig(path=self._flags.config.paths[-1])
        self._notices.extend(file.warnings)
        return file

    def _first(self, *sources: tuple[str, str]) -> tuple[str, str]:
        """Return the first non-empty value, and where it comes from."""
        return next(((value, origin) for origin, value in sources if value), ("", sources[0][0]))

    def _tunnels(self, file: FileConfig, names: tuple[str, ...]) -> tuple[TunnelConfig, ...]:
        """Return the named tunnels of the file, or all. One that cannot be started does not prevent the others."""
        known: dict[str, FileTunnel] = {}
        for one in file.tunnels:
            if not (one.name in known and one.problems):  # an endpoint may have the name of a tunnel
                known[one.name] = one
        if not known:
            if not self._problems:
                what = "are no tunnels in it" if file.exists else "is no such file"
                self._problems.append(f"{file.path}: there {what}")
                self._hint = self._hint or "write tunnels below `tunnels:` in that file, or use `tunnel http`"
            return ()
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(known)
            self._problems += [f"{file.path}: no tunnel is called {name}; there are {there}" for name in unknown]
            meant = [near for name in unknown if (near := nearest(name, known)) is not None]
            self._hint = f"did you mean `tunnel start {' '.join(meant)}`?" if meant else "start one of these, or --all"
        configs, refused = [], []
        for name in dict.fromkeys(names or known):
            if name in known:
                config, problems = self.defined(known[name])
                configs += [] if problems else [config]
                refused += problems
        if configs:
            self._notices += [f"not started: {problem}" for problem in refused]
        else:
            self._problems += refused
        return tuple(configs)

    def defined(self, tunnel: FileTunnel) -> tuple[TunnelConfig, list[str]]:
        """Return the tunnel of a definition, and why it cannot be started, each problem with its place in the file."""
        if tunnel.problems:
            return TunnelConfig(upstream=ANY_UPSTREAM), list(tunnel.problems)
        before, self._problems = self._problems, []
        config = replace(self._tunnel(flags_of(tunnel), KEYS), names=KEYS)
        mine, self._problems = self._problems, before
        return config, [f"{tunnel.where}: {problem}" for problem in mine]

    def _tunnel(self, flags: TunnelFlags, names: Mapping[str, str] = FLAGS) -> TunnelConfig:
        """Return the tunnel for the given flags.

        Args:
            names: Names of the settings as the user knows them: flags, or keys of the file.
        """
        upstream = self._upstream(flags)
        if flags.is_tcp:
            tunnel = self._tcp(flags, names)
        else:
            tunnel = self._joined(flags) if flags.edge or flags.labels else self._published(flags, names)
        return replace(
            tunnel,
            upstream=upstream,
            name=flags.name or COMMAND_LINE,
            weight=flags.weight or 1,
            description=flags.description,
            metadata=flags.metadata,
            verify_upstream=flags.upstream_tls_verify,
            policy=_with_known_host(tunnel.policy, upstream),
            proxy_protocol=self._proxy_protocol(flags, upstream),
            inspect=flags.inspect,
        )

    def _upstream(self, flags: TunnelFlags) -> UpstreamAddress:
        parse = parse_tcp_upstream if flags.is_tcp else parse_upstream
        upstream = self._try("", lambda: parse(flags.address), ANY_UPSTREAM)
        if problem := path_problem(upstream):
            self._problems.append(f"{flags.address}: {problem}")
        elif upstream.scheme == "file" and _is_wide(upstream.path):
            self._notices.append(f"{flags.address}: publishes all files below it, except those that begin with a dot")
        return upstream

    def _proxy_protocol(self, flags: TunnelFlags, upstream: UpstreamAddress) -> ProxyVersion:
        if flags.proxy_protocol not in ("", "0") and upstream.scheme == "file":
            self._problems.append("--upstream-proxy-protocol: not for a directory; no service is there that reads it")
        if flags.proxy_protocol not in PROXY_VERSIONS:
            self._problems.append(f"--upstream-proxy-protocol: {flags.proxy_protocol} is neither 1 nor 2")
        return PROXY_VERSIONS.get(flags.proxy_protocol, 0)

    def _published(self, flags: TunnelFlags, names: Mapping[str, str]) -> TunnelConfig:
        """Return a tunnel with an address and rules of its own."""
        if flags.remote_addr:
            self._problems.append("--remote-addr: only for tcp; a web address is named by --subdomain or --domain")
        self._check_weight(flags)
        subdomain, address = self._names(flags)
        return TunnelConfig(
            upstream=ANY_UPSTREAM,
            subdomain=subdomain,
            host=address.host,
            scheme="https" if self._is_https_asked(flags, address) else address.scheme,
            port=address.port,
            policy=self._policy(flags, names),
            pooling=flags.pooling,
        )

    def _tcp(self, flags: TunnelFlags, names: Mapping[str, str]) -> TunnelConfig:
        """Return a TCP tunnel. Rules about requests are mistakes, as they would not protect it."""
        given = {
            "subdomain": flags.subdomain,
            "domain": flags.domain,
            "url": flags.url,
            "scheme": flags.schemes,
            "edge": flags.edge,
            "label": flags.labels,
            "upstream-tls-verify": flags.upstream_tls_verify is not None,
        }
        rules = [names[row.path] for row in flags.policy.given() if row.path not in OF_CONNECTIONS]
        if lost := [*(f"--{name}" for name, value in given.items() if value), *rules]:
            self._problems.append(f"{', '.join(lost)}: not for tcp")
            self._hint = TCP_HINT
        self._check_weight(flags)
        host = self._try("--remote-addr: ", lambda: parse_remote_addr(flags.remote_addr), "")
        policy = PolicySpec() if lost else self._policy(flags, names)
        return TunnelConfig(upstream=ANY_UPSTREAM, host=host, policy=policy, pooling=flags.pooling)

    def _check_weight(self, flags: TunnelFlags) -> None:
        if flags.weight is not None and not flags.pooling:
            self._problems.append("--weight: needs --pooling-enabled, or an edge")

    def _is_https_asked(self, flags: TunnelFlags, address: PublicUrl) -> bool:
        """Return whether visitors must use https. Asking for both schemes is no reason to accept plain http alone."""
        if unknown := sorted(set(flags.schemes) - {"http", "https"}):
            self._problems.append(f"--scheme: {', '.join(unknown)} is neither http nor https")
        return address.scheme == "https" or set(flags.schemes) == {"https"}

    def _joined(self, flags: TunnelFlags) -> TunnelConfig:
        """Return a tunnel that serves edges.

        Settings that would have no effect are mistakes, wherever they come from.
        """
        named = {
            "subdomain": flags.subdomain,
            "domain": flags.domain,
            "url": flags.url,
            "pooling-enabled": flags.pooling,
            "scheme": flags.schemes,
        }
        rules = [row.flag for row in flags.policy.given()]
        lost = [*(f"--{name}" for name, value in named.items() if value), *rules]
        if lost:
            this = "--edge" if flags.edge else "--label"
            self._problems.append(f"{', '.join(lost)}: not together with {this}; {KEPT_AT_THE_RELAY}")
            self._hint = HINT
        problems: list[Problem] = []
        labels = parse_labels("--label", flags.labels, problems)
        self._problems += map(str, problems)
        return TunnelConfig(upstream=ANY_UPSTREAM, edge=flags.edge.strip(), labels=labels)

    def _names(self, flags: TunnelFlags) -> tuple[str | None, PublicUrl]:
        """Return the label under the relay's domain, and the address."""
        given = [name for name in ("subdomain", "domain", "url") if getattr(flags, name)]
        if len(given) > 1:
            self._problems.append(f"{' and '.join(f'--{name}' for name in given)}: only one of them names the address")
        if flags.url:
            return None, self._try("--url: ", lambda: parse_public_url(flags.url), PublicUrl())
        if flags.domain:
            return None, self._try("--domain: ", lambda: PublicUrl("", host_name(flags.domain)), PublicUrl())
        if flags.subdomain:
            return self._try("--subdomain: ", lambda: label(flags.subdomain), None), PublicUrl()
        return None, PublicUrl()

    def _policy(self, flags: TunnelFlags, names: Mapping[str, str]) -> PolicySpec:
        def revealed(row: PolicyField, text: str) -> str:
            if row.kind not in SECRET_KINDS:
                return text
            return self._secret(names[row.path], text, is_typed=row.parameter in flags.typed, stand_in="un:readable")

        try:
            return build_policy(flags.policy.mapped(revealed))
        except PolicyTextsInvalid as error:
            self._problems += [f"{names[one.field]}: {one.text}" for one in error.problems]
            return PolicySpec()

    def _secret(self, what: str, text: str, *, is_typed: bool, stand_in: str = "unreadable") -> str:
        if not text:
            return ""
        try:
            secret = read_secret(text, what=what, environ=self._environ, stdin=self._stdin)
        except SecretMissing as error:
            self._problems.append(str(error))
            return stand_in  # it was given, and must not be reported as missing as well
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


def _is_wide(directory: str) -> bool:
    """Return whether a directory is the root or the user's home, which contain more than people may want to publish."""
    return os.path.realpath(directory) in (os.path.realpath(os.sep), os.path.realpath(os.path.expanduser("~")))


def _with_known_host(policy: PolicySpec, upstream: UpstreamAddress) -> PolicySpec:
    """Return the policy with `localhost` instead of `rewrite`, if the upstream has no host name that the relay could
    send.
    """
    if policy.host_header != "rewrite" or not upstream.path:
        return policy
    return msgspec.structs.replace(policy, host_header="localhost")
