"""The relay's configuration: every setting with its default, unit and meaning, and the rules between them.

Start with `load_config`. `values.py` reads one value, `sources.py` finds the values in flags, variables and the file.
"""

# ruff: noqa: RUF009 (`setting` returns a dataclass field, which is what the rule asks for)

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from tunnelrelay.address import PublicAddress
from tunnelrelay.config import values as read
from tunnelrelay.config.dashboard import DashboardSettings, dashboard_problems
from tunnelrelay.config.database import DatabaseUrl, database_url, has_password
from tunnelrelay.config.doors import Doors, Facts, plan_doors
from tunnelrelay.config.sources import ConfigError, Raw, SettingProblem, flag_name, gather, variable_name
from tunnelrelay.config.trust_rules import TrustRuleSettings, trust_rule
from tunnelrelay.config.values import IPNetwork, ListenAddress, PortRange, PublicOrigin, Setting, is_localhost, setting

KEYS_FILE_NAME = "keys.json"
"""Name of the file with the key ring in the data directory."""


def default_data_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the default data directory: the unit's state directory under systemd, otherwise the platform's."""
    state = env.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state) if state else Path(platformdirs.user_data_dir("tunnelrelay"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig(DashboardSettings):
    """All settings of a relay, each with its reader, help and default. Numbers are seconds.

    Attributes:
        given: Names of the settings that were set; all others have their default.
        warnings: Warnings for the operator about settings that are allowed but risky, shown at the start.
    """

    http: ListenAddress | None = setting(
        read.listen_address_or_off,
        "Where visitors and agents connect over plain HTTP. With `https` on, it only redirects there.",
        shape="ADDR|off",
        default=ListenAddress("127.0.0.1", 8080),
    )
    https: ListenAddress | None = setting(
        read.listen_address_or_off,
        "Where visitors and agents connect over TLS; needs `tls_cert` and `tls_key`.",
        shape="ADDR|off",
    )
    tls_cert: Path | None = setting(
        read.readable_file,
        "Certificate chain (PEM) for the domain and `*.domain`, read again when it changes.",
        shape="FILE",
        is_path=True,
    )
    tls_key: Path | None = setting(read.readable_file, "Private key (PEM) of `tls_cert`.", shape="FILE", is_path=True)
    tcp_ports: tuple[PortRange, ...] = setting(
        read.port_range,
        "Ports that agents may be given for `tunnel tcp`, as in `20000-20100`; without any there is none. They are "
        "opened where visitors connect, or at the host in front, as in `0.0.0.0:20000-20100`.",
        shape="[HOST:]FROM-TO",
        default=(),
        is_list=True,
        is_number=True,
    )
    domain: str = setting(
        read.domain_name,
        "Endpoints live under this domain. `localhost` and names under it work on this machine without DNS.",
        shape="NAME",
        default="localhost",
    )
    public_url: PublicOrigin | None = setting(
        read.public_url,
        "What visitors type, as `https://*.tun.example[:port]`, when a proxy or port mapping is in front.",
        shape="URL",
    )
    callback_url: str | None = setting(
        read.callback_url,
        "The redirect URI registered at OpenID providers, when it is not `https://idp.DOMAIN/oauth2/callback`; "
        "`logged-out` and `backchannel-logout` are beside it.",
        shape="URL",
    )
    data_dir: Path = setting(
        read.directory,
        "Where the database, keys and the control socket lie; made with mode 0700.",
        shape="DIR",
        factory=default_data_dir,
        is_path=True,
    )
    database: DatabaseUrl | None = setting(
        database_url,
        "A PostgreSQL database, for relays on several machines; `sqlite` is a file in `data_dir`. "
        "A URL with a password comes from a file or a variable.",
        shape="URL|file:PATH|env:NAME|sqlite",
        has_secret=has_password,
    )
    admin: ListenAddress | None = setting(
        read.listen_address_or_off,
        "Where `/metrics`, `/healthz` and `/readyz` are served. Not for the public: it asks for no password.",
        shape="ADDR|off",
        default=ListenAddress("127.0.0.1", 8081),
    )
    log_format: str = setting(
        read.one_of("text", "json"), "One readable line or one JSON object a record.", shape="text|json", default="text"
    )
    log_level: str = setting(
        read.one_of("debug", "info", "warning", "error"),
        "The least severe record that is written. Access lines are `info`.",
        shape="debug|info|warning|error",
        default="info",
    )
    trusted_proxy: tuple[IPNetwork, ...] = setting(
        read.network,
        "Networks of proxies whose `X-Forwarded-For` (or `Forwarded`) is believed. That of others is not.",
        shape="CIDR",
        default=(),
        is_list=True,
    )
    endpoint_hsts_seconds: float = setting(
        read.seconds(60, 10 * 365 * 86_400, has_off=True),
        "For how long browsers are told to open endpoints over https only (HSTS); 0 leaves that to the apps. "
        "The relay's own pages say a year.",
        shape="SECONDS",
        unit="seconds",
        default=0.0,
    )
    issuer_network: tuple[IPNetwork, ...] = setting(
        read.network,
        "Private networks in which OpenID providers may be. A public relay connects to no other private address.",
        shape="CIDR",
        default=(),
        is_list=True,
    )
    issuer_port: tuple[int, ...] = setting(
        read.port,
        "Ports at which OpenID providers may be called, instead of 443 and 8443. Without it, a relay that is not "
        "`multi_tenant` also calls the port that an issuer names, at the issuer's own host.",
        shape="PORT",
        default=(),
        is_list=True,
        is_number=True,
    )
    issuer_ca: Path | None = setting(
        read.authorities_file,
        "Certificates (PEM) of private authorities to trust for OpenID providers, beside the system's. Read at the "
        "start.",
        shape="FILE",
        is_path=True,
    )
    multi_tenant: bool = setting(
        read.true_or_false,
        "Owners are strangers to each other: every OpenID connection gets a redirect URI of its own, and agents need "
        "tokens.",
        shape="true|false",
        default=False,
    )
    shared_callback_owner: tuple[str, ...] = setting(
        read.owner,
        "Owners whose connections may use the redirect URI without a path of its own on a `multi_tenant` relay.",
        shape="OWNER",
        default=(),
        is_list=True,
    )
    name_cooldown_seconds: float | None = setting(
        read.seconds(0, 3650 * 86_400),
        "How long a name that was given up is kept from other owners; 0, or 30 days on a `multi_tenant` relay.",
        shape="SECONDS",
        unit="seconds",
    )
    visitor_requests: int = setting(
        read.count(1, 100_000),
        "How many requests, upgraded and tcp connections one visitor's address may have open at one endpoint. An IPv6 "
        "network of 64 bits counts as one address, loopback as none.",
        shape="NUMBER",
        default=256,
    )
    hold_seconds: float = setting(
        read.seconds(0, 60),
        "How long a request waits for an agent that just went away, before it is answered 503.",
        shape="SECONDS",
        unit="seconds",
        default=5.0,
    )
    drain_seconds: float = setting(
        read.seconds(0, 600),
        "How long a stopping relay lets running exchanges finish.",
        shape="SECONDS",
        unit="seconds",
        default=10.0,
    )
    idle_seconds: float = setting(
        read.seconds(1, 3600),
        "How long a visitor's kept-alive connection may lie between two requests.",
        shape="SECONDS",
        unit="seconds",
        default=60.0,
    )
    keys_file: Path | None = setting(
        read.new_file,
        "Where the key ring lies (`assertion.json` beside it), when not in `data_dir`: for relays that share it.",
        shape="FILE",
        is_path=True,
    )
    key_rotation_seconds: float = setting(
        read.seconds(3600, 30 * 86_400, has_off=True),
        "How old the newest sealing key and the newest signing key may get before a newer one is made; 0 for never.",
        shape="SECONDS",
        unit="seconds",
        default=86_400.0,
    )
    trust_rule: tuple[TrustRuleSettings, ...] = setting(
        trust_rule,
        "CI jobs that may connect as agents by their own ID tokens, beside the rules that are set up in the dashboard. "
        "A table in the file, JSON elsewhere.",
        shape="TABLE",
        default=(),
        is_list=True,
        is_table=True,
    )
    audit_days: float = setting(
        read.days(1, 3650), "How long audit events are kept.", shape="DAYS", unit="days", default=90.0
    )
    given: frozenset[str] = field(default=frozenset(), compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the relay and resolve its names; then agents need no token."""
        listeners = [address for address in (self.http, self.https) if address is not None]
        return is_localhost(self.domain) and all(address.is_loopback for address in listeners)

    @property
    def cool_seconds(self) -> float:
        """Seconds for which a released name is kept from other owners."""
        if self.name_cooldown_seconds is not None:
            return self.name_cooldown_seconds
        # Browsers keep cookies and other data of a name's former owner, which a new owner must not get soon after.
        return 30 * 86_400.0 if self.multi_tenant else 0.0

    @property
    def needs_tokens(self) -> bool:
        """Whether agents must send a token. Without tokens all agents have one owner, so `multi_tenant` needs them."""
        return self.multi_tenant or not self.is_local

    @property
    def doors(self) -> Doors:
        """What the http and https listeners do by these settings, with the refusal and warnings that apply."""
        return plan_doors(
            Facts(
                http=self.http,
                https=self.https,
                public_url=self.public_url,
                domain=self.domain,
                is_http_given="http" in self.given,
                has_proxy=bool(self.trusted_proxy),
            )
        )

    def tcp_listen_host(self, port: int) -> str:
        """Return the host to listen on for one of `tcp_ports`: the range's own host, or that of the public listener."""
        host = next((each.host for each in self.tcp_ports if port in each.ports), None)
        public = self.https or self.http
        return host if host is not None else public.host if public is not None else "127.0.0.1"

    @property
    def scheme(self) -> str:
        """The scheme of the relay's public URLs: `http` or `https`."""
        return self.doors.plan.scheme

    def public_port(self, listening: int) -> int:
        """Return the port of the relay's public URLs: that of `public_url`, or the one that the relay listens on."""
        return listening if self.public_url is None else self.public_url.port

    def public_address(self, *, http: int | None, https: int | None) -> PublicAddress:
        """Return the public address of a relay.

        Args:
            http, https: Ports that the relay listens on; None for a listener that is off.
        """
        listening = https if https is not None else http
        assert listening is not None  # the table of doors refuses a relay without a listener
        return PublicAddress(
            scheme=self.scheme,
            domain=self.domain,
            port=self.public_port(listening),
            callback_url=self.callback_url or "",
            is_multi_tenant=self.multi_tenant,
        )


SETTINGS: dict[str, Setting] = {
    item.name: item.metadata["setting"]
    for item in sorted(fields(RelayConfig), key=lambda item: item.name in DashboardSettings.__dataclass_fields__)
    if "setting" in item.metadata
}


def load_config(*, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None) -> RelayConfig:
    """Return the configuration from flags, environment and file, checked as a whole.

    Raises:
        ConfigError: The configuration is wrong; the error has every mistake with its origin.
    """
    raw, problems = gather(SETTINGS, flags=flags, env=env, file=file)
    values = {name: _value(name, item, problems) for name, item in raw.items()}
    if problems:
        raise ConfigError(problems)
    values.setdefault("data_dir", default_data_dir(env))
    if values.get("public_url") is not None:
        values.setdefault("domain", values["public_url"].domain)
    config = RelayConfig(**values, given=frozenset(raw))
    origins = {name: item.origin for name, item in raw.items()}
    if problems := _problems_between(config, origins):
        raise ConfigError(problems)
    return replace(config, warnings=_warnings(config))


def load_data_dir(*, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None) -> Path:
    """Return only the data directory from flags, environment and file.

    Commands that work on the store must not need the other settings: the relay may have got those by flags.
    """
    return _path("data_dir", flags, env, file) or default_data_dir(env)


def load_keys_file(*, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None) -> Path:
    """Return only the path of the key ring from flags, environment and file, for the commands that change keys."""
    default = load_data_dir(flags=flags, env=env, file=file) / KEYS_FILE_NAME
    return _path("keys_file", flags, env, file) or default


def load_database(
    *, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None = None
) -> DatabaseUrl | None:
    """Return only the database from flags, environment and file; None for the SQLite file in the data directory."""
    found = _alone("database", flags, env, file)
    return found if isinstance(found, DatabaseUrl) else None


def _path(name: str, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None) -> Path | None:
    """Return the value of one setting that is a path; None when it was not set. Raises ConfigError."""
    found = _alone(name, flags, env, file)
    return Path(found) if found is not None else None


def _alone(name: str, flags: Mapping[str, object], env: Mapping[str, str], file: Path | None) -> Any:
    """Return the value of one setting; None when it was not set. Raises ConfigError."""
    raw, problems = gather(SETTINGS, flags=flags, env=env, file=file)
    found = _value(name, raw[name], problems) if name in raw else None
    if problems:
        raise ConfigError(problems)
    return found


def _value(name: str, raw: Raw, problems: list[SettingProblem]) -> Any:
    """Read the value of one setting from its texts; None after a mistake, which is added to `problems`."""
    known = SETTINGS[name]
    is_split = known.is_list and not known.is_table
    texts = [part.strip() for text in raw.texts for part in (text.split(",") if is_split else [text])]
    if not known.is_list and len(texts) != 1:
        problems.append(SettingProblem(raw.origin, "takes one value"))
        return None
    if raw.origin == flag_name(name) and any(map(known.has_secret, texts)):
        hint = f"write it to a file for {flag_name(name)} file:PATH, or into the variable {variable_name(name)}"
        problems.append(
            SettingProblem(raw.origin, "everybody on this machine can read a password that stands here", hint)
        )
        return None
    if known.is_path and raw.base is not None:
        texts = [str(raw.base / os.path.expanduser(text)) for text in texts]
    values = []
    for text in texts:
        try:
            values.append(known.read(text))
        except ValueError as problem:
            problems.append(SettingProblem(raw.origin, str(problem)))
    if known.is_list:
        return tuple(values)
    return values[0] if values else None


def _problems_between(config: RelayConfig, origins: Mapping[str, str]) -> list[SettingProblem]:
    """Return the mistakes in combinations of settings."""
    where = {name: origins.get(name, f"{flag_name(name)} (default)") for name in SETTINGS}
    return [
        *_tls_problems(config, where),
        *_address_problems(config, where),
        *_public_problems(config, where),
        *dashboard_problems(config, where, is_local=is_localhost(config.domain)),
    ]


def _tls_problems(config: RelayConfig, where: Mapping[str, str]) -> list[SettingProblem]:
    files = {"tls_cert": config.tls_cert, "tls_key": config.tls_key}
    if config.https is None:
        message = "is of no use without an https address"
        return [
            SettingProblem(where[name], message, "add --https :443") for name, file in files.items() if file is not None
        ]
    return [
        SettingProblem(where["https"], f"TLS needs {flag_name(name)}", f"add {flag_name(name)} FILE")
        for name, file in files.items()
        if file is None
    ]


def _address_problems(config: RelayConfig, where: Mapping[str, str]) -> list[SettingProblem]:
    problems = []
    seen: dict[ListenAddress, str] = {}
    for name in ("http", "https", "admin"):
        address = getattr(config, name)
        if address is None or address.port == 0:
            continue
        if address in seen:
            problems.append(SettingProblem(where[name], f"{address} is the address of {seen[address]} already"))
        seen[address] = flag_name(name)
    return problems


def _public_problems(config: RelayConfig, where: Mapping[str, str]) -> list[SettingProblem]:
    problems = []
    if config.public_url is not None and config.public_url.domain != config.domain:
        message = f"is for `{config.public_url.domain}`, and the domain is `{config.domain}`"
        problems.append(
            SettingProblem(where["public_url"], message, "give the same domain in both, or --public-url alone")
        )
    if (refusal := config.doors.refusal) is not None:
        problems.append(SettingProblem(where[refusal.setting], refusal.text, refusal.hint))
    return problems


def _warnings(config: RelayConfig) -> tuple[str, ...]:
    found = list(config.doors.warnings)
    if config.admin is not None and not config.admin.is_loopback:
        found.append(f"metrics and health on {config.admin} can be read by everyone who reaches that address")
    return tuple(found)
