"""The table of what each listener does (serve, redirect, off), by the settings `http`, `https` and `public_url`.

`plan_doors` finds a relay's row in `TABLE` and adds the notes that apply to its addresses, domain and proxies.
`config.py` reports the refusal and warnings, `app/wiring.py` gives the plan to the ingress.
docs/reference/configuration.md has the same table, and a test tries all combinations with real listeners.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tunnelrelay.config.values import ListenAddress, PublicOrigin, is_localhost


class Does(Enum):
    """What a listener does with requests: serve them, or redirect to https."""

    SERVE = "serves"
    REDIRECT = "redirects to https"
    """Answer GET and HEAD with 308; refuse all other requests, and agents, before their credentials are read.

    Requests of a trusted proxy with `X-Forwarded-Proto: https` are served, as the proxy has terminated TLS. So are
    agents and API clients whose Host is a loopback address or `localhost`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The settings that choose a row of `TABLE` and the notes that apply.

    Attributes:
        is_http_given: Whether the operator set `http`; otherwise it has its default.
        has_proxy: Whether `trusted_proxy` names any network.
    """

    http: ListenAddress | None
    https: ListenAddress | None
    public_url: PublicOrigin | None
    domain: str
    is_http_given: bool
    has_proxy: bool

    @property
    def row(self) -> "Row":
        """The key of these settings' row in `TABLE`."""
        return self.http is not None, self.https is not None, self.public_url.scheme if self.public_url else ""


@dataclass(frozen=True, slots=True)
class Note:
    """A warning about a relay's listeners, or a refusal to start.

    Attributes:
        setting: The setting that the message names.
        when: The condition as the docs state it; "" for always.
        applies: Whether the condition holds for these settings.
        text, hint: Message and hint for the operator; `{domain}` and `{http}` are filled in.
        is_refusal: Whether the relay refuses to start; otherwise it warns.
    """

    setting: str
    when: str
    applies: Callable[[Facts], bool]
    text: str
    hint: str = ""
    is_refusal: bool = False


Row = tuple[bool, bool, str]
"""Whether `http` and `https` are on, and the scheme of `public_url` ("" without one)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A row of `TABLE`: what the listeners do for one combination of settings.

    Attributes:
        scheme: Scheme of the relay's public URLs.
        plain, secure: What the http and the https listener do; None for one that is off.
        notes: Warnings and refusals that may apply, checked in order; a refusal ends the check.
    """

    scheme: str
    plain: Does | None
    secure: Does | None
    notes: tuple[Note, ...] = ()


def _is_public(facts: Facts) -> bool:
    return not is_localhost(facts.domain)


def _is_open(facts: Facts) -> bool:
    """Whether the relay would serve a public domain over plain http on an address that is not an explicit loopback."""
    is_tried_here = facts.is_http_given and facts.http is not None and facts.http.is_loopback
    return _is_public(facts) and not (is_tried_here and facts.public_url is None)


_NOWHERE = Note(
    "http",
    "",
    lambda _: True,
    "without http and https the relay cannot be reached",
    "add --https :443",
    is_refusal=True,
)
_OPEN = Note(
    "domain",
    "the domain is public, and `http` is not an explicit loopback address",
    _is_open,
    "plain http is refused for the public domain `{domain}`: logins could be read on the way",
    "add --https, --tls-cert and --tls-key; or, when a proxy in front ends TLS, --public-url 'https://*.{domain}'",
    is_refusal=True,
)
_OPEN_BY_URL = Note("public_url", _OPEN.when, _is_open, _OPEN.text, _OPEN.hint, is_refusal=True)
_TRIED_HERE = Note(
    "http",
    "the domain is public",
    _is_public,
    "addresses under `{domain}` are plain http and answer on this machine only; "
    "with a proxy in front, give --public-url 'https://*.{domain}'",
)
_LOOP = Note(
    "public_url",
    "",
    lambda _: True,
    "says http, and https is on: every link would lead away from TLS",
    "write --public-url 'https://*.{domain}', or leave it out",
    is_refusal=True,
)
_PAST_THE_PROXY = Note(
    "http",
    "`http` is not a loopback address",
    lambda facts: facts.http is not None and not facts.http.is_loopback,
    "plain http on {http} serves everyone who reaches that address without the proxy that ends TLS; "
    "bind it to loopback, or let a firewall admit the proxy alone",
)
_UNKNOWN_PROXY = Note(
    "trusted_proxy",
    "there is no `trusted_proxy`",
    lambda facts: not facts.has_proxy,
    "every visitor has the address of the proxy in front: rules about networks and limits see no other; "
    "give --trusted-proxy with the proxy's address",
)

TABLE: dict[Row, Plan] = {
    (False, False, ""): Plan("http", None, None, (_NOWHERE,)),
    (False, False, "http"): Plan("http", None, None, (_NOWHERE,)),
    (False, False, "https"): Plan("https", None, None, (_NOWHERE,)),
    (True, False, ""): Plan("http", Does.SERVE, None, (_OPEN, _TRIED_HERE)),
    (True, False, "http"): Plan("http", Does.SERVE, None, (_OPEN_BY_URL,)),
    (True, False, "https"): Plan("https", Does.SERVE, None, (_PAST_THE_PROXY, _UNKNOWN_PROXY)),
    (False, True, ""): Plan("https", None, Does.SERVE),
    (False, True, "http"): Plan("http", None, Does.SERVE, (_LOOP,)),
    (False, True, "https"): Plan("https", None, Does.SERVE),
    (True, True, ""): Plan("https", Does.REDIRECT, Does.SERVE),
    (True, True, "http"): Plan("http", Does.REDIRECT, Does.SERVE, (_LOOP,)),
    (True, True, "https"): Plan("https", Does.REDIRECT, Does.SERVE),
}
"""The plan for every combination of `http`, `https` and `public_url`. With `https` on, plain http only redirects."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What the listeners of a relay do, and what its operator must know about them.

    Attributes:
        plan: The relay's row of `TABLE`.
        refusal: Why the relay does not start; None when it does.
        warnings: Texts of the warnings that apply.
    """

    plan: Plan
    refusal: Note | None
    warnings: tuple[str, ...]


def plan_doors(facts: Facts) -> Doors:
    """Return what a relay's listeners do with these settings, with the refusal and the warnings that apply."""
    plan = TABLE[facts.row]
    warnings = []
    for note in plan.notes:
        if note.applies(facts):
            filled = Note(note.setting, note.when, note.applies, *_filled(note, facts), is_refusal=note.is_refusal)
            if note.is_refusal:
                return Doors(plan, filled, ())
            warnings.append(filled.text)
    return Doors(plan, None, tuple(warnings))


def _filled(note: Note, facts: Facts) -> tuple[str, str]:
    words = {"domain": facts.domain, "http": str(facts.http)}
    return note.text.format(**words), note.hint.format(**words)
