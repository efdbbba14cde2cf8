"""ngrok's settings that are not implemented here, with the nearest alternative for each."""

_POLICY = "there are no traffic policies: login, networks and headers have flags, see `tunnel http --help`"
_OAUTH = "visitors log in by OpenID Connect instead: `--oidc ISSUER` with --oidc-client-id and --oidc-client-secret"
_CLIENT_CERTIFICATES = "client certificates are not asked for; let visitors in by --oidc, --jwt-issuer or --cidr-allow"
_WEBHOOK = "check the webhook's signature in the app, which gets its body and headers unchanged"
_USER_AGENT = "every client can make its User-Agent up; let visitors in by --oidc, --jwt-issuer or --cidr-allow"
_UPSTREAM_ONLY = "local services are spoken to in HTTP/1.1"
_AUTHORITIES = "the system's authorities are trusted; SSL_CERT_FILE in the environment names others"
_TLS = "the relay ends TLS with its own certificate (`tunnelrelay serve --tls-cert`)"

INSTEAD: dict[str, str] = {
    "oauth": _OAUTH,
    "oauth_client_id": _OAUTH,
    "oauth_client_secret": _OAUTH,
    "oauth_allow_email": "with --oidc it is `--oidc-allow-email`",
    "oauth_allow_domain": "with --oidc it is `--oidc-allow-domain`",
    "oauth_scope": "with --oidc it is `--oidc-scope`",
    "saml": "SAML is not spoken; many providers speak OpenID Connect too: `--oidc ISSUER`",
    "circuit_breaker": "with --pooling-enabled, requests go to those tunnels of an address whose local service answers",
    "compression": "let the app compress; its answers pass unchanged",
    "mutual_tls_cas": _CLIENT_CERTIFICATES,
    "verify_webhook": _WEBHOOK,
    "verify_webhook_secret": _WEBHOOK,
    "user_agent_filter": _USER_AGENT,
    "user_agent_filter_allow": _USER_AGENT,
    "user_agent_filter_deny": _USER_AGENT,
    "ua_filter_allow": _USER_AGENT,
    "ua_filter_deny": _USER_AGENT,
    "ip_policy": "list the networks with --cidr-allow and --cidr-deny",
    "traffic_policy": _POLICY,
    "traffic_policy_file": _POLICY,
    "traffic_policy_url": _POLICY,
    "policy": _POLICY,
    "policy_file": _POLICY,
    "upstream_protocol": _UPSTREAM_ONLY,
    "app_protocol": _UPSTREAM_ONLY,
    "upstream_tls_verify_cas": _AUTHORITIES,
    "websocket_tcp_converter": "WebSockets pass as they are, to an app that speaks them",
    "crt": _TLS,
    "key": _TLS,
    "terminate_at": _TLS,
    "remote_addr": "it is of tcp tunnels: `tunnel tcp 22 --remote-addr 20022`",
    "verify_upstream_tls_cas": _AUTHORITIES,
    "agent_tls_termination": _TLS,
}
"""Alternatives to settings of ngrok that do not exist here, by key of the configuration file; a flag is the key with
dashes."""
IN_A_DEFINITION = frozenset(
    {
        "agent_tls_termination", "app_protocol", "circuit_breaker", "compression", "crt", "key", "mutual_tls_cas",
        "oauth", "policy", "saml", "terminate_at", "traffic_policy", "traffic_policy_file",
        "user_agent_filter", "verify_upstream_tls_cas", "verify_webhook", "websocket_tcp_converter",
    }
)  # fmt: skip
"""Unsupported keys that ngrok has in a tunnel or an endpoint of its file: a definition with one is not started."""
OFF = frozenset({"", "0", "0.0", "false"})
"""Values with which a configuration file turns a setting of ngrok off."""
MAY_BE_OFF = frozenset({"circuit_breaker", "compression", "websocket_tcp_converter"})
WITHOUT_EFFECT = frozenset({"region"})
"""Keys of a tunnel or an endpoint that are accepted without effect, as they cannot matter here."""
OF_THE_AGENT = frozenset(
    {
        "connect_interface", "connect_timeout", "console_ui_color", "crl_noverify", "crl_url", "dns_resolver_ips",
        "heartbeat_interval", "heartbeat_tolerance", "local_storage", "metadata", "region",
        "remote_management", "update", "update_channel", "update_check", "web_allow_hosts",
    }
)  # fmt: skip
"""ngrok's keys about the agent that have no effect here. They give a warning; none of them restricts access."""
IN_A_TUNNEL: dict[str, str] = {
    "auth": 'write `basic_auth: ["USER:PASS"]` into a tunnel below `tunnels`',
    "basic_auth": "write it into a tunnel below `tunnels`, or give --basic-auth",
    "cidr_allow": "write `ip_restriction: {allow_cidrs: [...]}` into a tunnel below `tunnels`, or give --cidr-allow",
    "cidr_deny": "write `ip_restriction: {deny_cidrs: [...]}` into a tunnel below `tunnels`, or give --cidr-deny",
    "ip_restriction": "write it into a tunnel below `tunnels`, or give --cidr-allow and --cidr-deny",
    "oidc": "write it into a tunnel below `tunnels`, or give --oidc",
}
"""Hints for keys that exist, but not at the place in the file where the user wrote them."""
