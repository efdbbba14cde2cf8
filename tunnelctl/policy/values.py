"""Checks single values of a policy's settings, one function for each form of value. Does no I/O.

A check takes a value in the form of the wire messages and returns what is wrong with it, or "". The text never repeats
a secret, and of a long value only the beginning. `fields.py` assigns the checks to settings.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from tunnelctl.policy.named import is_named, name_problem
from tunnelctl.wire.messages import MIN_PASSWORD

MAX_EMAIL = 254
"""Maximum characters of an e-mail address; longer ones cannot be delivered to (RFC 5321 section 4.5.3.1.3)."""
MAX_SCOPE, MAX_CLAIM_NAME, MAX_PARAM = 128, 256, 512
"""Maximum characters of a scope; of an acr value or a claim's name; and of a parameter of the authorization request."""
MAX_AGE = 365 * 24 * 3600
"""Maximum seconds for the request parameter `max_age`."""
RESERVED_PARAMS = frozenset(
    {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "code_verifier", "request", "request_uri", "registration", "id_token_hint", "claims",
    }
)  # fmt: skip
"""Parameters that owners must not set: the login's security depends on them, or they could replace all others (RFC
9101)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EMAIL = re.compile(r"[!-?A-~]+@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.IGNORECASE | re.ASCII)
"""An e-mail address: one `@`, printable ASCII, a domain of letters, digits and hyphens. Parsers disagree about other
forms."""
_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]+", re.ASCII)
"""A scope (RFC 6749 section 3.3)."""
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)
_PARAM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_HOST_HEADER = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
"""A name of a header field (RFC 9110 section 5.6.2)."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_MANY_TENANTS = re.compile(
    r"https?://login\.microsoftonline\.com(?::[0-9]+)?/+(common|organizations|consumers)(?:/|$)", re.IGNORECASE
)
ALL_TENANTS = "`{}` of Microsoft Entra stands for every organisation's accounts"
USE_A_TENANT = "use https://login.microsoftonline.com/TENANT-ID/v2.0 with the id of your own tenant"


def issuer_or_name(text: str) -> str:
    """Check an issuer's URL, or the name of a provider that the relay knows."""
    return name_problem(text) if is_named(text) else issuer(text)


def issuer(text: str) -> str:
    """Check how the URL of an issuer is written (OpenID Connect Discovery section 4.1).

    Which addresses may be called is checked by the relay when it calls the issuer.
    """
    if "@" in text:  # not repeated: the text before the @ may contain a password
        return "an issuer has no user or password in it (OpenID Connect Discovery section 4.1)"
    no_url = f"{text[:128]!r} is not an issuer's URL like https://acme.okta.com"
    if not text.isascii() or not text.isprintable() or set(text) & set(' \\"<>'):
        return no_url
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return no_url
    if parts.scheme not in ("https", "http") or not _is_host(host) or port == 0:
        return no_url
    if "?" in text or "#" in text:
        return "an issuer has no query or fragment (OpenID Connect Discovery section 4.1)"
    if tenant := shared_tenant(text):
        return f"{ALL_TENANTS.format(tenant)}: {USE_A_TENANT}"
    return ""


def shared_tenant(text: str) -> str:
    """Return the placeholder for all tenants in a Microsoft Entra issuer, such as `common`; "" for any other issuer."""
    tenant = _MANY_TENANTS.match(text)
    return tenant[1] if tenant else ""


def credential(text: str) -> str:
    """Check a client's id or secret. The message never repeats the value."""
    return "" if text.strip() and text.isprintable() else "it is empty or has control characters"


def scope(text: str) -> str:
    """Check a scope for the authorization request."""
    if _SCOPE.fullmatch(text) and len(text) <= MAX_SCOPE:
        return ""
    return f"{text[:64]!r} is not a scope; write each by itself"


def email(text: str) -> str:
    """Check an e-mail address, in any case and with blanks around it."""
    text = text.strip()
    if is_email(text) and "*" not in text:
        return ""
    return f"{text[:128]!r} is not an e-mail address (for a whole domain, use a domain rule)"


def is_email(text: str) -> bool:
    """Return whether the text is an e-mail address in the form that a provider's claim must have."""
    return len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) is not None


def domain(text: str) -> str:
    """Check a domain of e-mail addresses, in any case and with or without the `@`."""
    if _DOMAIN.fullmatch(text.strip().lower().removeprefix("@")):
        return ""
    return f"{text[:128]!r} is not a domain like example.com (no wildcards; international ones as xn--...)"


def filled(text: str) -> str:
    """Check that a text is not empty."""
    return "" if text.strip() else "it is empty"


def claim_rule(pair: tuple[str, str]) -> str:
    """Check a rule about a claim of a user who logs in."""
    name, value = pair
    if not name.strip() or not value:
        return f"the claim rule {name[:64]!r}={value[:64]!r} lacks its name or its value"
    if name == "email":
        return "a claim rule on email would not check that it is verified: use an e-mail or domain rule"
    return ""


def token_claim(pair: tuple[str, str]) -> str:
    """Check a rule about a claim in a program's token."""
    name, value = pair
    if audience(name) or audience(value):
        return f"the claim rule {name[:64]!r}={value[:64]!r} lacks its name or its value, or has control characters"
    if "*" in value:
        return f"the claim rule {name[:64]}={value[:64]}: values are compared exactly, `*` stands for nothing else"
    if name == "email" and (email(value) or value != value.lower()):
        return f"{value[:128]!r} is not an e-mail address in lower case"
    return ""


def audience(text: str) -> str:
    """Check an audience of tokens."""
    return "" if text.strip() and text.isprintable() else f"{text[:64]!r} is not an audience"


def audience_or_client(text: str) -> str:
    """Check an audience; "" stands for the client id."""
    return audience(text) if text else ""


def acr(text: str) -> str:
    """Check a value of `acr` (authentication context class)."""
    return "" if _VISIBLE.fullmatch(text) and len(text) <= MAX_CLAIM_NAME else f"{text[:64]!r} is not an acr value"


def claim_name(text: str) -> str:
    """Check the name of a claim, which may have dots that lead into nested objects."""
    ok = _VISIBLE.fullmatch(text) and len(text) <= MAX_CLAIM_NAME
    return "" if ok else f"{text[:64]!r} is not the name of a claim"


def request_param(pair: tuple[str, str]) -> str:
    """Check a parameter that the owner adds to the authorization request."""
    name, value = pair
    if not _PARAM_NAME.fullmatch(name) or not value.isprintable() or not 0 < len(value) <= MAX_PARAM:
        return f"the request parameter {name[:64]!r} has no proper name or value"
    if name in RESERVED_PARAMS:
        return f"the request parameter {name} is the relay's own"
    if name == "response_mode" and value not in ("query", "form_post"):
        return "response_mode is query or form_post"
    if name == "max_age" and not (value.isascii() and value.isdigit() and int(value) <= MAX_AGE):
        return f"max_age is a number of seconds up to {MAX_AGE}"
    return ""


def origin(text: str) -> str:
    """Check the origin (scheme, host and port) of another site."""
    wrong = f"{text[:128]!r} is not an origin like https://app.example"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return wrong
    has_more = parts.path not in ("", "/") or set(text) & set("@?#* ") or not text.isprintable()
    return wrong if parts.scheme not in ("http", "https") or not host or port == 0 or has_more else ""


def user_and_password(pair: str) -> str:
    """Check a visitor's `user:password`, without a minimum length.

    Messages never repeat it: the text may be the password alone.
    """
    user, _, secret = pair.partition(":")
    return "" if user and secret and pair.isprintable() else "it takes USER:PASS, neither of them empty"


def password(pair: str) -> str:
    """Check a visitor's `user:password` and the minimum length of the password."""
    if problem := user_and_password(pair):
        return problem
    user, _, secret = pair.partition(":")
    if len(secret) < MIN_PASSWORD:
        count = "1 character" if len(secret) == 1 else f"{len(secret)} characters"
        return f"the password of {user[:64]} has {count}, it takes at least {MIN_PASSWORD}"
    return ""


def network(text: str) -> str:
    """Check a network or a single IP address. For a likely slip, the message says what was probably meant."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        return _no_network(text)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        # Visitors with such an address are compared by the IPv4 address in it, so this rule would never match.
        return f"{text[:64]!r} stands for IPv4 addresses: write the IPv4 network"
    return ""


def host_header(text: str) -> str:
    """Check the Host for the upstream: `rewrite`, or a host with or without a port."""
    return "" if _HOST_HEADER.fullmatch(text) else f"{text[:64]!r} is not a host name"


def header_name(text: str) -> str:
    """Check the name of a header field."""
    return "" if _HEADER_NAME.fullmatch(text) else f"{text[:64]!r} is not a header name"


def header(pair: tuple[str, str]) -> str:
    """Check a header field that is added. The message never repeats the value, which may be a secret."""
    name, value = pair
    if problem := header_name(name):
        return problem
    if _CONTROL.search(value):
        return f"{name}: the value has a control character"
    if "${" in value:
        return f"{name}: values are sent as they are; '${{...}}' is not expanded"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{name}: the value is not text"
    return ""


def anything(value: object) -> str:
    """Accept any value that has the setting's kind and keeps its limits."""
    return ""


def _is_host(host: str) -> bool:
    if ":" not in host:
        return bool(_HOST.fullmatch(host))
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _no_network(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{text[:64]!r} is not a network like 10.0.0.0/8 or 2001:db8::/32"
    return f"{text[:64]} names a host inside a network; did you mean {meant}?"
