"""What people type because ngrok has it and `tunnel` has not: it is refused by its name, with the nearest way to do it.

Flags that mean no harm are taken instead; see `flags.FAMILIAR`.
"""

from tunnelctl.cli.program import Foreign

_POLICY = "there are no traffic policies here: login, networks and headers have flags, see `tunnel http --help`"
_OAUTH = "visitors log in by OpenID Connect: `--oidc ISSUER`, with --oidc-client-id and --oidc-client-secret"
_OAUTH_EMAIL, _OAUTH_DOMAIN, _OAUTH_SCOPE = (
    f"with --oidc it is `--oidc-{name}`" for name in ("allow-email", "allow-domain", "scope")
)
_CLIENT_CERTIFICATES = "client certificates are not asked for: let visitors in by --oidc, --jwt-issuer or --cidr-allow"
_WEBHOOK = "check the webhook's signature in the app, which gets its body and headers unchanged"
_USER_AGENT = "requests are not let in by their User-Agent, which every client can make up: use --cidr-allow or --oidc"
_BACKEND_ONLY = "only http:// and https:// services can be reached, in HTTP/1.1"
_PROXY_PROTOCOL = "the visitor's address comes in `X-Forwarded-For`; the PROXY protocol is not spoken"
_TLS = "the relay ends TLS with its own certificate (`tunnelrelay serve --tls-cert`)"

NGROK = Foreign(
    owner="ngrok",
    commands={
        "tcp": "only HTTP can be tunnelled (WebSockets too): `tunnel http PORT`",
        "tls": "only HTTP can be tunnelled, and the relay ends TLS: `tunnel http https://localhost:PORT`",
        "service": "run `tunnel start --all` under systemd, as the guide to self-hosting shows",
        "diagnose": "`tunnel config check` looks at the file, `tunnel oidc check ISSUER` at a login's provider",
        "update": "update it as it was installed: `pip install --upgrade tunnelctl`",
        "completion": "click, which reads the command line, makes it: `_TUNNEL_COMPLETE=bash_source tunnel`",
        "authtoken": "it is `tunnel config add-authtoken TOKEN`",
        "credits": "`pip show tunnelctl` lists what it is built on",
        "edit": "open the file that `tunnel config check` names in an editor",
        "upgrade": "write `version: 3` in the file; `tunnel config check` says what else it needs",
    },
    flags={
        "--oauth": _OAUTH,
        "--oauth-client-id": _OAUTH,
        "--oauth-client-secret": _OAUTH,
        "--oauth-allow-email": _OAUTH_EMAIL,
        "--oauth-allow-domain": _OAUTH_DOMAIN,
        "--oauth-scope": _OAUTH_SCOPE,
        "--circuit-breaker": "nothing breaks circuits here; a tunnel that fails is skipped while others share its "
        "address (--pooling-enabled)",
        "--compression": "let the app compress; its answers pass unchanged",
        "--mutual-tls-cas": _CLIENT_CERTIFICATES,
        "--verify-webhook": _WEBHOOK,
        "--verify-webhook-secret": _WEBHOOK,
        "--user-agent-filter": _USER_AGENT,
        "--user-agent-filter-allow": _USER_AGENT,
        "--user-agent-filter-deny": _USER_AGENT,
        "--ua-filter-allow": _USER_AGENT,
        "--ua-filter-deny": _USER_AGENT,
        "--traffic-policy-file": _POLICY,
        "--traffic-policy-url": _POLICY,
        "--policy-file": _POLICY,
        "--policy": _POLICY,
        "--proxy-proto": _PROXY_PROTOCOL,
        "--upstream-proxy-protocol": _PROXY_PROTOCOL,
        "--upstream-protocol": _BACKEND_ONLY,
        "--app-protocol": _BACKEND_ONLY,
        "--upstream-tls-verify-cas": "the system's authorities are trusted: set SSL_CERT_FILE for others",
        "--websocket-tcp-converter": "WebSockets pass as they are, to an app that speaks them",
        "--crt": _TLS,
        "--key": _TLS,
        "--terminate-at": _TLS,
        "--remote-addr": "only HTTP can be tunnelled: name the address with --subdomain or --domain",
        "--none": "`tunnel start` starts at least one tunnel: name it, or give --all",
        "--web-addr": "the agent has no web page of its own; the relay's dashboard shows requests as they come",
    },
)
"""The other program's names, as its reference has them."""
