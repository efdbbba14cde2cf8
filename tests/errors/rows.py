"""Every error of both programs: how to provoke it, how the program ends, what names the cause and what the next step.

In arguments and texts, names in braces stand for what `estate.py` has made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One error.

    Attributes:
        line: The command line.
        cause: What the `error:` lines say about it.
        step: What a `hint:` line says to do.
    """

    line: str
    code: int
    cause: str
    step: str
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""


HTTP = "tunnel http 3000 --config {d}/tunnel.yml --log=false"
WITH = f"{HTTP} --relay {{relay}} --authtoken"
API = "tunnel api --config {d}/tunnel.yml"
SERVE = "tunnelrelay serve --admin off --http 127.0.0.1:0"
HELP = "--help lists what it takes"
FILE_STEP = "put the file right, or name another with --config"

ROWS = (
    # The command line of either
    Row("tunnel dev-issuer --user groups=qa", 2, "'groups=qa' is no user", "tunnel dev-issuer --help has examples"),
    Row("tunnel dev-issuer --user 'a;b'", 2, "'b' is no claim", "tunnel dev-issuer --help has examples"),
    Row("tunnel dev-issuer --user a --user a", 2, "two users have the same name", "another sub="),
    Row("tunnel dev-issuer --port {port}", 1, "--port {port}: another program listens there", "--port, or 0"),
    Row("tunnel htp 3000", 2, "No such command 'htp'", "did you mean `http`?"),
    Row("tunnelrelay tokn", 2, "No such command 'tokn'", "did you mean `token`?"),
    Row("tunnelrelay token creat", 2, "No such command 'creat'", "did you mean `create`?"),
    Row("tunnel config add-authtokn x", 2, "No such command 'add-authtokn'", "did you mean `add-authtoken`?"),
    Row("tunnel http 3000 --subdoman x", 2, "No such option '--subdoman'", "did you mean `--subdomain`?"),
    Row("tunnelrelay serve --tls-crt x", 2, "No such option '--tls-crt'", "did you mean `--tls-cert`?"),
    Row("tunnel http", 2, "Missing argument", f"tunnel http {HELP}"),
    Row("tunnel http 3000 4000", 2, "unexpected extra argument (4000)", f"tunnel http {HELP}"),
    Row("tunnel http 3000 --weight 900", 2, "900 is not in the range", f"tunnel http {HELP}"),
    Row("tunnelrelay audit list --limit x", 2, "'x' is not a valid integer", f"audit list {HELP}"),
    Row(
        "tunnel --relay x http 3000", 2, "No such option '--relay'", "behind the command's name: `tunnel http --relay`"
    ),
    Row("tunnel http 3000 --circuit-breaker 0.5", 2, "--circuit-breaker is not implemented here", "--pooling-enabled"),
    Row("tunnel http 3000 --oauth google", 2, "--oauth is not implemented here", "--oidc ISSUER"),
    Row("tunnel http 3000 --mutual-tls-cas f", 2, "--mutual-tls-cas is not implemented here", "--jwt-issuer"),
    Row("tunnel http 3000 --verify-webhook x", 2, "--verify-webhook is not implemented here", "signature in the app"),
    Row(
        "tunnel http 3000 --traffic-policy-file f", 2, "--traffic-policy-file is not implemented", "tunnel http --help"
    ),
    Row("tunnel tls 443", 2, "tls is not implemented here", "`tunnel tcp PORT`"),
    Row("tunnel tcp 22 --oidc x", 2, "--oidc: not for tcp", "--cidr-allow"),
    Row(
        "tunnel http 3000 --binding internal", 2, "--binding internal is not implemented here", "every tunnel is public"
    ),
    Row("tunnel http /srv/site", 2, "/srv/site: write a directory as file:///srv/site", f"tunnel http {HELP}"),
    Row("tunnel http file:site", 2, "file:site: a directory is named by its whole path", f"tunnel http {HELP}"),
    Row("tunnel http file://{d}/none", 2, "/none: there is no such directory", f"tunnel http {HELP}"),
    Row("tunnel http file://{d}/tunnel.yml", 2, "tunnel.yml: it is not a directory", f"tunnel http {HELP}"),
    Row("tunnel http file://{d} --proxy-proto 1", 2, "not for a directory", f"tunnel http {HELP}"),
    Row("tunnel http unix:app.sock", 2, "unix:app.sock: a socket is named by its whole path", f"tunnel http {HELP}"),
    Row("tunnel http unix:{d}/tunnel.yml", 2, "tunnel.yml: it is not a unix socket", f"tunnel http {HELP}"),
    Row("tunnel tcp file:///srv", 2, "a directory is served to browsers", f"tunnel tcp {HELP}"),
    Row("tunnel http 3000 --scheme ftp", 2, "ftp is neither http nor https", f"tunnel http {HELP}"),
    Row("tunnel http 3000 --upstream-protocol http2", 2, "http2 is not implemented here", "HTTP/1.1"),
    Row("tunnel diagnose --config {d}/typo.yml", 2, "unknown key agent.authtokn", FILE_STEP),
    Row(
        "tunnel diagnose --relay {closed} --config {d}/empty.yml --write-report {d}/tunnel.yml/x",
        1,
        "cannot write {d}/tunnel.yml/x",
        "name another file",
    ),
    Row("tunnel completion", 2, "SHELL names no shell", "tunnel completion bash", {"SHELL": "/bin/false"}),
    Row("tunnel config upgrade 2 --config {d}/tunnel.yml", 2, "version 2 cannot be written", "put the file right"),
    Row("tunnel config upgrade --config {d}", 2, "{d}: Is a directory", "put the file right"),
    Row("tunnel authtoken x --config a.yml,b.yml", 2, "names several files to write in", "name one"),
    Row("tunnel install-shim {d}", 2, "another program of this name", "name another folder"),
    Row("tunnel install-shim {d}/tunnel.yml/x", 1, "cannot write {d}/tunnel.yml/x/ngrok", "name another folder"),
    Row("tunnel http 3000 --domain a.b --hostname c.d", 2, "two names of one flag", "give it once"),
    # What a tunnel is asked for
    Row(f"{HTTP} --relay http://tun.example", 2, "in the clear; use https", f"tunnel http {HELP}"),
    Row(f"{HTTP} --relay https://tun.example/app", 2, "a relay's address ends after the port", f"tunnel http {HELP}"),
    Row(f"{HTTP} --basic-auth ann:short", 2, "the password of ann has 5 characters", f"tunnel http {HELP}"),
    Row(f"{HTTP} --subdomain a_b", 2, "--subdomain: 'a_b' is not a name", f"tunnel http {HELP}"),
    Row(f"{HTTP} --oidc=", 2, "--oidc: its value is empty", f"tunnel http {HELP}"),
    Row(HTTP, 2, "TUNNELCTL_OIDC: its value is empty", "give it the issuer, or unset it", {"TUNNELCTL_OIDC": ""}),
    Row(f"{HTTP} --authtoken env:NOT_SET", 2, "variable NOT_SET is not set", f"tunnel http {HELP}"),
    Row(f"{HTTP} --authtoken file:{{d}}/none", 2, "cannot read {d}/none", f"tunnel http {HELP}"),
    Row(f"{HTTP} --edge shop --cidr-deny 10.0.0.0/8", 2, "--cidr-deny: not together with --edge", "edge"),
    Row("tunnel http 3000 --config {d}/none.yml", 2, "{d}/none.yml: there is no such file", "name another"),
    Row("tunnel http 3000 --config {d}/typo.yml", 2, "unknown key agent.authtokn; did you mean", FILE_STEP),
    Row("tunnel start web --config {d}/oauth.yml", 2, "oauth is not implemented here; visitors log in by", "start"),
    Row("tunnel http 3000 --config {d}/format.yml", 2, "log_format is one of term", "put the file right"),
    Row(
        f"{HTTP} --log {{d}}/none/log".replace(" --log=false", ""), 2, "cannot write {d}/none/log", "name another file"
    ),
    Row("tunnel start", 2, "name the tunnels to start", f"tunnel start {HELP}"),
    Row("tunnel start wbe --config {d}/tunnel.yml", 2, "no tunnel is called wbe; there are web", "`tunnel start web`"),
    Row(
        "tunnel start web --config {d}/none.yml",
        2,
        "{d}/none.yml: there is no such file",
        "name another",
    ),
    Row("tunnel start --all --config {d}/misspelt.yml", 2, "looks as if it restricted access", FILE_STEP),
    Row("tunnel start --all --config {d}/empty.yml", 2, "there are no tunnels in it", "write tunnels below `tunnels:`"),
    Row(
        "tunnel start --none --log=false --config {d}/web.yml",
        1,
        "{closed_port}: bind: address already in use",
        "web_addr",
    ),
    # The local API's own commands
    Row("tunnel requests --web-addr {closed}", 2, "--web-addr: ", "give it as 127.0.0.1:4040"),
    Row("tunnel requests --web-addr 127.0.0.1:{closed_port}", 1, "no agent answers at 127.0.0.1:", "start one with"),
    Row("tunnel requests --web-addr false", 2, "--web-addr is false: agents have no local API", "take that out"),
    Row("tunnel requests --config {d}/typo.yml", 2, "unknown key agent.authtokn", FILE_STEP),
    Row("tunnel replay 0123456789abcdef --web-addr {web}", 1, "the agent refused: ", "`tunnel requests` lists those"),
    Row("tunnel replay 1 --set-header x", 2, "--set-header: 'x' has no colon", "'Accept: text/html'"),
    Row("tunnel replay 1 --data @{d}/none", 2, "--data: cannot read @{d}/none", "name another file"),
    Row("tunnel replay 1 --data -", 2, "--data: more than 128 KiB", "give a smaller body", stdin=bytes(132_000)),
    # A run of a command
    Row("tunnel exec", 116, "Missing argument", "tunnel exec --help lists it"),
    # What a relay answers
    Row(f"{WITH} tt_wrong", 3, "the authtoken is unknown", "tunnelrelay token create"),
    Row(f"{WITH} {{expired}}", 3, "The authtoken has expired. (on 20", "tunnelrelay token create"),
    Row(f"{HTTP} --relay {{relay}}", 3, "needs an authtoken from agents", "tunnel config add-authtoken TOKEN"),
    Row(f"{WITH} oidc", 2, "oidc stands for a CI job's ID token", "elsewhere give an authtoken"),
    Row(f"{WITH} oidc", 3, "GitHub gave this job no identity", "id-token: write", env={"GITHUB_ACTIONS": "true"}),
    Row(f"{WITH} oidc", 3, "GitLab gave this job no ID token", "id_tokens: ", env={"GITLAB_CI": "true"}),
    Row(f"{WITH} {{narrow}} --subdomain web", 3, "does not allow this", "it may: bind:pr-*; use another authtoken"),
    Row(f"{WITH} {{bob}} --subdomain shop", 5, "shop", "choose another name"),
    Row(f"{WITH} {{bob}} --edge nothing", 2, "nothing", "tunnel api edges https list"),
    Row(
        f"{HTTP} --relay {{stranger}}", 4, "there is no relay at {stranger}", "is --relay the address of a tunnelrelay?"
    ),
    Row("tunnel start --all --config {d}/two.yml --log=false --relay {relay} --authtoken {bob}", 5, "one: ", "another"),
    # Saving and checking
    Row("tunnel config add-relay http://tun.example", 2, "in the clear", "give it as https://tun.example"),
    Row("tunnel config add-authtoken env:NOT_SET", 2, "NOT_SET is not set", "env:NAME, file:PATH, or -"),
    Row("tunnel config add-authtoken x --config {d}/broken.yml", 2, "{d}/broken.yml:1: not YAML", "put the file right"),
    Row("tunnel config add-authtoken x --config /proc/none/t.yml", 1, "cannot write /proc/none/t.yml", "with --config"),
    Row(
        "tunnel config check --config {d}/none.yml",
        2,
        "there is no such file",
        "`tunnel config add-authtoken TOKEN` makes",
    ),
    Row(
        "tunnel config check --config {d}/typo.yml",
        2,
        "{d}/typo.yml:3: unknown key agent.authtokn",
        "put the file right",
    ),
    # A provider
    Row("tunnel oidc check https://a.example --redirect-uri x", 2, "'x' is not an address", "`tunnel http` prints it"),
    Row(
        "tunnel oidc check https://a.example --for-tokens --client-id a",
        2,
        "not together with --client-id",
        "leave one",
    ),
    Row("tunnel oidc check https://a.example --client-secret x", 2, "needs --client-id", "add --client-id ID"),
    Row("tunnel oidc check https://a --client-id a --client-secret env:NO", 2, "NO is not set", "env:NAME, file:PATH"),
    Row("tunnel oidc check https://a --client-id a --relay ftp://a", 2, "--relay: ftp://a", "give it as https://"),
    Row("tunnel oidc check https://a --issuer-ca {d}/none", 2, "--issuer-ca: cannot read {d}/none", "name a PEM file"),
    Row(
        "tunnel oidc check https://a --issuer-ca {d}/broken.yml",
        2,
        "holds no certificate in PEM form",
        "name a PEM file",
    ),
    # The API
    Row(f"{API} tunnels list", 2, "there is no API key", "tunnel config add-api-key KEY"),
    Row(
        f"{API} tunnels list --api-key x --api-url {{closed}} --proxy-url env:NO",
        2,
        "NO is not set",
        "give it as http://",
    ),
    Row(f"{API} tunnels list --api-key env:NO", 2, "NO is not set", "env:NAME, file:PATH"),
    Row(f"{API} tunnels list --api-key x --api-url ftp://a", 2, "--api-url: ftp://a", "https://api.tun.example"),
    Row(f"{API} tunnels list --api-key x --relay ftp://a", 2, "--relay: ftp://a", "https://tun.example"),
    Row(f"{API} tunnels list --api-key x --relay-ca {{d}}/none", 2, "cannot read {d}/none", "name a PEM file"),
    Row(f"{API} tunnels list --api-key x --relay {{closed}}", 4, "{closed}", "name the relay with --relay"),
    Row(f"{API} tunnels list --api-key x --relay {{relay}}", 3, "the API refused", "make a key in the dashboard"),
    Row(f"{API} tunnels get b/d --api-key x --api-url {{relay}}/_tunnel/api", 2, "ID: 'b/d' is no id", "shows ids"),
    Row(
        f"{API} tunnels list --api-key x --api-url {{closed}}",
        4,
        "{closed}/_tunnel/api/tunnels: connection refused",
        "is it running",
    ),
    Row(
        f"{API} edges https create --data {{d}}/none --api-key x --api-url {{relay}}",
        2,
        "cannot read {d}/none",
        "that flag",
    ),
    Row("tunnel api --config {d}/typo.yml tunnels list", 2, "unknown key agent.authtokn", "put the file right"),
    # A relay's settings
    Row("tunnelrelay serve --domain 10.0.0.1", 2, "--domain: `10.0.0.1` is an IP address", "configuration.md"),
    Row(
        "tunnelrelay serve --domain tun.example --http :80", 2, "plain http is refused for the public domain", "--https"
    ),
    Row("tunnelrelay serve --https :443", 2, "--https: TLS needs --tls-cert", "add --tls-cert FILE"),
    Row("tunnelrelay serve --http off", 2, "the relay cannot be reached", "add --https :443"),
    Row("tunnelrelay serve --http 9 --admin 9", 2, "127.0.0.1:9 is the address of --http already", "configuration.md"),
    Row(
        "tunnelrelay serve",
        2,
        "TUNNELRELAY_DOMIAN: there is no such setting",
        "TUNNELRELAY_DOMAIN",
        {"TUNNELRELAY_DOMIAN": "x"},
    ),
    Row(
        "tunnelrelay serve --config {d}/none.toml",
        2,
        "{d}/none.toml: the file cannot be read: no such file",
        "--config",
    ),
    Row("tunnelrelay serve --config {d}/broken.toml", 2, "not TOML: Expected", 'a line is `name = "value"`'),
    Row("tunnelrelay serve --config {d}/typo.toml", 2, "typo.toml: domian: there is no such setting", "`domain`"),
    Row("tunnelrelay serve --database mysql://x", 2, "this is no database's URL", "configuration.md"),
    Row("tunnelrelay serve --database postgresql://a:b@c/d", 2, "can read a password that stands here", "file:PATH"),
    # A relay's start
    Row(
        "tunnelrelay serve --admin off --data-dir {d}/new --http 127.0.0.1:{port}",
        1,
        "another program listens there",
        "stop that one",
    ),
    Row(
        f"{SERVE} --admin 127.0.0.1:{{port}} --data-dir {{d}}/new",
        1,
        "--admin 127.0.0.1:{port}: another program",
        "stop that",
    ),
    Row(
        "tunnelrelay serve --admin off --data-dir {d}/new --http 192.0.2.1:8099",
        1,
        "this machine has no such address",
        "`ip address`",
    ),
    Row(
        "tunnelrelay serve --admin off --data-dir {d}/new --http none.invalid:80",
        1,
        "no host of this name",
        "as in --http :443",
    ),
    Row(f"{SERVE} --data-dir /proc/none", 1, "the data directory /proc/none cannot be used", "--data-dir"),
    Row(f"{SERVE} --data-dir {{d}}/junk", 1, "relay.db cannot be opened: file is not a database", "restore a backup"),
    Row(
        f"{SERVE} --data-dir {{d}}/newer", 1, "was written by a newer tunnelrelay (schema 9999", "run the newer release"
    ),
    Row(
        f"{SERVE} --data-dir {{d}}/new",
        1,
        "trust_rule 1: claims: https://gitlab.com signs for every account",
        "put `trust_rule` right",
        env={
            "TUNNELRELAY_TRUST_RULE": '{"owner": "a", "issuer": "https://gitlab.com", "claims": {"ref": "x"}, '
            '"acl": ["bind:a"]}'
        },
    ),
    Row(f"{SERVE} --data-dir {{d}}/open-keys", 1, "can be read by others (mode 0644)", "chmod 600"),
    Row(f"{SERVE} --data-dir {{d}}/bad-keys", 1, "this is not a key ring", "restore it from a backup"),
    Row(
        f"{SERVE} --data-dir {{d}}/new --database postgresql://a@127.0.0.1:{{closed_port}}/x",
        1,
        "connection refused",
        "start the server",
    ),
    Row(
        f"{SERVE} --data-dir {{d}}/new --database postgresql://a@none.invalid/x",
        1,
        "there is no host of this name",
        "put the host right",
    ),
    Row(
        f"{SERVE} --https 127.0.0.1:0 --tls-cert {{d}}/cert.pem --tls-key {{d}}/other.pem",
        1,
        "is not the key of",
        "give the key",
        {"TUNNELRELAY_DATA_DIR": "{d}/new"},
    ),
    Row(
        f"{SERVE} --https 127.0.0.1:0 --tls-cert {{d}}/cert.pem --tls-key {{d}}/locked.pem",
        1,
        "is encrypted with a password",
        "openssl pkey",
        {"TUNNELRELAY_DATA_DIR": "{d}/new"},
    ),
    Row(
        f"{SERVE} --https 127.0.0.1:0 --tls-cert {{d}}/key.pem --tls-key {{d}}/cert.pem",
        1,
        "holds the private key",
        "exchange",
        {"TUNNELRELAY_DATA_DIR": "{d}/new"},
    ),
    # A relay's commands
    Row("tunnelrelay token list --data-dir {d}/nothing", 1, "there is no relay data in {d}/nothing", "--data-dir"),
    Row("tunnelrelay token list --data-dir {d}/junk", 1, "file is not a database", "restore a backup"),
    Row(
        "tunnelrelay token create --data-dir /proc/none",
        1,
        "the data directory /proc/none cannot be used",
        "--data-dir",
    ),
    Row("tunnelrelay token create --owner a/b --data-dir {d}/data", 1, "`a/b` cannot be an owner", "with --owner"),
    Row("tunnelrelay token create --acl x --data-dir {d}/data", 2, "x", "a rule is like bind:pr-*"),
    Row(
        "tunnelrelay token create --expires 5y --data-dir {d}/data",
        2,
        "'5y' is not a duration",
        "90s, 15m, 1h or 7d",
    ),
    Row("tunnelrelay token create --description {long} --data-dir {d}/data", 1, "description", "--description"),
    Row("tunnelrelay token revoke --data-dir {d}/data", 2, "give the ids of tokens, or --owner NAME", f"revoke {HELP}"),
    Row("tunnelrelay token revoke tok_1 --data-dir {d}/data", 1, "there is no token tok_1", "`tunnelrelay token list`"),
    Row(
        "tunnelrelay token revoke --owner no --data-dir {d}/data",
        1,
        "owner no has no good token",
        "`tunnelrelay token list`",
    ),
    Row(
        "tunnelrelay admin create --name ann --data-dir {d}/data",
        1,
        "there is a user called ann already",
        "give --link",
    ),
    Row(
        "tunnelrelay admin create --name no --link --data-dir {d}/data",
        1,
        "no user called no",
        "`tunnelrelay admin list`",
    ),
    Row("tunnelrelay admin create --name {long} --data-dir {d}/data", 1, "name", HELP),
    Row(
        "tunnelrelay admin key --name no --data-dir {d}/data",
        1,
        "no user called no",
        "tunnelrelay admin create --name no",
    ),
    Row("tunnelrelay session revoke --data-dir {d}/data", 2, "give the ids of sessions", f"session revoke {HELP}"),
    Row(
        "tunnelrelay session revoke abcd --data-dir {d}/data",
        1,
        "`abcd` is no session's id",
        "`tunnelrelay session list`",
    ),
    Row(
        "tunnelrelay name release no --data-dir {d}/data", 1, "no agent ever had the name no", "`tunnelrelay name list`"
    ),
    Row("tunnelrelay name release shop --data-dir {live}", 1, "it is served", "tunnelrelay token revoke --owner ann"),
    Row(
        "tunnelrelay audit list --kind login.denid --data-dir {d}/data", 2, "no kind of event called", "`login.denied`"
    ),
    Row("tunnelrelay keys list --data-dir {d}/data", 1, "there are no keys in {d}/data/keys.json", "--keys-file"),
    Row("tunnelrelay keys list --data-dir {d}/bad-keys", 1, "this is not a key ring", "restore it from a backup"),
    Row("tunnelrelay keys drop nope --data-dir {live}", 1, "there is no key nope", "`tunnelrelay keys list`"),
    Row("tunnelrelay backup {d}/broken.yml --data-dir {d}/data", 1, "broken.yml exists already", "--force"),
    Row(
        "tunnelrelay backup /proc/none/x --data-dir {d}/data", 1, "/proc/none/x cannot be written", "name another file"
    ),
    Row("tunnelrelay backup {d}/b.tar.gz --data-dir {d}/open-keys", 1, "can be read by others", "chmod 600"),
    Row(
        "tunnelrelay restore {d}/keys.tar.gz --yes --data-dir {d}/other --keys-file /proc/none/k",
        1,
        "the rows are restored, but /proc/none/k is not",
        "restore once more",
    ),
    Row(
        "tunnelrelay token revoke --owner default --data-dir {d}/stuck",
        1,
        "revoked, but the relay behind",
        "hears of it by itself",
    ),
    Row(
        "tunnelrelay restore {d}/good.tar.gz --yes --data-dir {d}/stuck",
        1,
        "restored, but the relay behind",
        "hears of it by itself",
    ),
    Row("tunnelrelay restore - --data-dir {d}/data", 2, "standard input is the backup", "give --yes"),
    Row("tunnelrelay restore {d}/none --data-dir {d}/data", 1, "{d}/none cannot be read", "name another file"),
    Row(
        "tunnelrelay restore {d}/broken.yml --yes --data-dir {d}/data",
        1,
        "the file is no backup",
        "`tunnelrelay backup` wrote",
    ),
    Row("tunnelrelay restore {d}/good.tar.gz --data-dir {d}/data", 2, "there is no terminal to ask", "give --yes"),
    Row("tunnelrelay restore {d}/keys.tar.gz --yes --data-dir {d}/open-keys", 1, "can be read by others", "chmod 600"),
)
