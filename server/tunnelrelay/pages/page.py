"""Renders the relay's own responses: HTML pages for people, JSON for programs. Their texts are in `en.toml`.

A page runs no script, loads nothing, and must not be framed; its one inline style is allowed by hash. Texts from
outside (host names, texts of providers and agents) are shortened, cleaned and escaped here.
"""

import base64
import functools
import hashlib
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import jinja2
import msgspec
from markupsafe import Markup

from tunnelrelay.model import Field, Reply
from tunnelrelay.pages.errors import ERRORS, ErrorKind
from tunnelrelay.pages.texts import say

MAX_QUOTE = 300
"""Maximum characters shown of a text from a provider, an agent or a visitor: enough for a reason, too few for a
message."""
MAX_HOST = 253

Tone = Literal["problem", "locked", "wait", "done", "ask", "plain"]
"""The kind of page, which selects the icon above its title."""

_OUTSIDE = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:[/?][\x21-\x7e]*)?")
MAX_OUTSIDE = 2048
_SCHEME = re.compile(r"(https?:)//[A-Za-z0-9.\[\]:-]+")
_BASE_POLICY = "default-src 'none'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class Way:
    """A drawing of the request's path to the app, on error pages.

    Attributes:
        hops: Stations of the path in order, as keys below `way.` in `en.toml`.
        broken: The station at which the request failed.
    """

    hops: tuple[str, ...]
    broken: str


TUNNEL_HOPS = ("you", "relay", "agent", "app")
LOGIN_HOPS = ("you", "relay", "provider")
_BROKEN_HOPS = {"agent": "agent", "upstream": "app"}
_RELAYS_OWN = ("relay_busy", "internal_error")


@dataclass(frozen=True, slots=True)
class LinkButton:
    """A link drawn as a button.

    Attributes:
        href: A path on this host, another host of the relay, or a URL that `outside` accepted.
        leaves_frame: Open the link in the whole window when the page is inside a frame.
    """

    href: str
    label: str
    leaves_frame: bool = False


@dataclass(frozen=True, slots=True)
class Submit:
    """A further button of a form, identified by its name."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class FormButton:
    """A button that sends a POST request.

    Attributes:
        action: A path on this host.
        hidden: (name, value) pairs that are sent too, such as a CSRF token.
        leads_to: URLs that the response may redirect to; only their scheme counts. Browsers apply the page's
            `form-action` to every redirect after a form, including redirects of the provider to other providers that
            are unknown here.
    """

    action: str
    label: str
    hidden: tuple[tuple[str, str], ...] = ()
    leads_to: tuple[str, ...] = ()
    second: Submit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a page.

    Attributes:
        host: The host that the page is about; "" for none.
        text: Description of the situation.
        quote: A text from a provider or an agent.
        quote_by: The line above the quote, which names its author.
        way: A drawing of the request's path and where it failed.
        facts: (name, value) pairs to list.
        command: A command for the terminal.
        command_label: The line above the command.
        hint: Advice to the visitor.
        link: The most likely next step; beside a form, the alternative.
        second_link: The alternative beside a link.
        code: The error's code; "" when the page is not about an error.
        may_be_framed: True only for pages whose one link leaves the frame.
    """

    status: int
    title: str
    tone: Tone
    host: str = ""
    text: str = ""
    quote: str = ""
    quote_by: str = ""
    way: Way | None = None
    facts: tuple[tuple[str, str], ...] = ()
    command: str = ""
    command_label: str = ""
    hint: str = ""
    link: LinkButton | None = None
    second_link: LinkButton | None = None
    form: FormButton | None = None
    code: str = ""
    request_id: str = ""
    may_be_framed: bool = False


def error_reply(
    code: str,
    *,
    request_id: str,
    host: str,
    wants_html: bool,
    detail: str = "",
    retry_after: int = 0,
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Return an error of the table as a page or as JSON.

    Args:
        code: A code in `ERRORS`.
        host: The host of the request; "" when unknown.
        detail: Description of this case; shown to the visitor, so never a secret.
        retry_after: Seconds; replaces the table's value.
        fields: Further header fields, such as `WWW-Authenticate`.
    """
    kind = ERRORS[code]
    host, detail = clean(host, MAX_HOST), clean(detail, MAX_QUOTE)
    if seconds := retry_after or kind.retry_after:
        fields = (*fields, (b"Retry-After", b"%d" % seconds))
    if not wants_html:
        return _json_reply(kind, detail, host, request_id, fields)
    page = Page(
        status=kind.status,
        title=say(f"errors.{code}.title"),
        tone=tone_of(kind),
        host=host,
        text=message_of(code, host),
        quote=detail,
        quote_by=say("labels.agent_says") if detail else "",
        way=way_of(kind),
        hint=say(f"errors.{code}.hint"),
        # An empty reference means the page's own address.
        link=LinkButton("" if kind.way_on == "try_again" else "/", say(f"buttons.{kind.way_on}")),
        code=code,
        request_id=request_id,
    )
    return page_reply(page, fields)


def page_reply(page: Page, fields: tuple[Field, ...] = ()) -> Reply:
    """Return a page as a response, with header fields that restrict what the page may load and who may frame it."""
    html = _template().render(page=page, hops=_hops(page.way), sign=_signs()[page.tone])
    code = ((b"Tunnel-Error", page.code.encode()),) if page.code else ()
    safety = (
        (b"Content-Security-Policy", _security_policy(page).encode()),
        *(() if page.may_be_framed else ((b"X-Frame-Options", b"DENY"),)),
        # Without Referer browsers send a form with `Origin: null`, which the check against forgery must refuse.
        (b"Referrer-Policy", b"strict-origin" if page.form else b"no-referrer"),
    )
    content = (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Language", b"en"),
    )
    return Reply(page.status, (*content, *_common_fields(), *code, *safety, *fields), html.encode())


def message_of(code: str, host: str) -> str:
    """Return an error's message about a host."""
    return say(f"errors.{code}.message", host=host or say("labels.unnamed_host"))


def tone_of(kind: ErrorKind) -> Tone:
    """Return the tone of an error's page, which selects its icon."""
    if kind.retry_after:
        return "wait"
    # Not an error: the sign-in only has to start again.
    return "locked" if kind.status in (401, 403) or kind.code == "login_restart" else "problem"


def way_of(kind: ErrorKind) -> Way | None:
    """Return the drawing for an error on the path to the app; None for an error in the request itself."""
    broken = "relay" if kind.code in _RELAYS_OWN else _BROKEN_HOPS.get(kind.source, "")
    return Way(TUNNEL_HOPS, broken) if broken else None


def clean(text: str, limit: int) -> str:
    """Return an untrusted text without control characters, cut to `limit` characters.

    Characters that change the direction of text or are invisible are removed too.
    """
    shown = "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
    return f"{shown}…" if len(text) > limit else shown


def outside(url: str) -> str:
    """Return a provider's URL if a link may use it, else "".

    Allowed are http(s) URLs without user part and unusual characters.
    """
    return url if len(url) <= MAX_OUTSIDE and _OUTSIDE.fullmatch(url) else ""


def _hops(way: Way | None) -> list[tuple[str, str, str]]:
    """Return each station of the path: its state, the text below it, and the text for screen readers."""
    if way is None:
        return []
    broken = way.hops.index(way.broken)
    states = ["reached"] * broken + ["broken"] + ["beyond"] * (len(way.hops) - broken - 1)
    names = [say(f"way.{hop}") for hop in way.hops]
    return [(state, name, say(f"way.{state}", hop=name)) for state, name in zip(states, names, strict=True)]


def _json_reply(kind: ErrorKind, detail: str, host: str, request_id: str, fields: tuple[Field, ...]) -> Reply:
    message = message_of(kind.code, host)
    error = {
        "code": kind.code,
        "source": kind.source,
        "message": f"{message} ({detail})" if detail else message,
        "hint": say(f"errors.{kind.code}.hint"),
        "request_id": request_id,
    }
    content = (b"Content-Type", b"application/json")
    code = (b"Tunnel-Error", kind.code.encode())
    body = msgspec.json.encode({"error": error}) + b"\n"
    return Reply(kind.status, (content, *_common_fields(), code, *fields), body)


def _common_fields() -> tuple[Field, ...]:
    return (b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff")


def _security_policy(page: Page) -> str:
    parts = [_BASE_POLICY, f"style-src {_style_hash()}"]
    targets = sorted({found[1] for url in page.form.leads_to if (found := _SCHEME.match(url))}) if page.form else []
    parts.append(" ".join(["form-action", "'self'", *targets]) if page.form else "form-action 'none'")
    if not page.may_be_framed:
        parts.append("frame-ancestors 'none'")
    return "; ".join(parts)


def _file(name: str) -> str:
    return resources.files("tunnelrelay.pages").joinpath("templates", name).read_text(encoding="utf-8").strip()


@functools.cache
def _style_hash() -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_file('style.css').encode()).digest()).decode()}'"


@functools.cache
def _signs() -> dict[str, Markup]:
    """Return the icon of each tone."""
    return {tone: Markup(lines) for tone, lines in tomllib.loads(_file("signs.toml")).items()}  # noqa: S704 (our own)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tunnelrelay.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html", globals={"style": Markup(_file("style.css")), "say": say})  # noqa: S704 (our own)
