"""Write the relay's own answers: pages for people, JSON for programs. Their texts are in `en.toml`.

A page runs no script, loads nothing, and may not be framed; its one inline style is allowed by its hash. Texts from
outside (host names, texts of providers and agents) are cut, cleaned and escaped here.
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
"""Characters shown of a text by a provider, an agent or a visitor: enough for a reason, too few for a message."""
MAX_HOST = 253

Tone = Literal["problem", "locked", "wait", "done", "ask", "plain"]
"""The sign above the title."""

_OUTSIDE = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:[/?][\x21-\x7e]*)?")
MAX_OUTSIDE = 2048
_SCHEME = re.compile(r"(https?:)//[A-Za-z0-9.\[\]:-]+")
_BASE_POLICY = "default-src 'none'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class Way:
    """The drawing of a request's way to the app.

    Attributes:
        hops: Stations in order, by their keys below `way.` in `en.toml`.
        broken: The one where it ended.
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
        href: A path on this host, another host of the relay's own, or what `outside` let pass.
        leaves_frame: Open it in the whole window, when the page is inside another one.
    """

    href: str
    label: str
    leaves_frame: bool = False


@dataclass(frozen=True, slots=True)
class Submit:
    """Another button of a form, told apart by its name."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class FormButton:
    """A button that POSTs.

    Attributes:
        action: A path on this host.
        hidden: (name, value) pairs sent with it, such as a CSRF token.
        leads_to: Addresses its answer may redirect to; only the scheme counts. Browsers hold every redirect after a
            form to the page's `form-action`, also those by which the provider sends visitors on to an unknown provider
            behind it.
    """

    action: str
    label: str
    hidden: tuple[tuple[str, str], ...] = ()
    leads_to: tuple[str, ...] = ()
    second: Submit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one page shows.

    Attributes:
        host: The host it is about; "" for none.
        text: What happened.
        quote: A text by a provider or an agent.
        quote_by: The line above the quote, which names its author.
        way: Draws the way of the request and where it ended.
        facts: (name, value) pairs.
        command: Something to type in a terminal.
        command_label: The line above it.
        hint: What to do.
        link: What most people will do next; beside a form, the other choice.
        second_link: The other choice beside a link.
        code: The error's code; "" when it is none.
        may_be_framed: Only for pages whose one link leaves the frame.
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
    """Returns an error of the table as a page or as JSON.

    Args:
        code: One of `ERRORS`.
        host: The host the visitor asked for, "" when unknown.
        detail: What exactly happened; shown to the visitor, so never a secret.
        retry_after: Seconds; replaces the value of the table.
        fields: More header fields, such as `WWW-Authenticate`.
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
        # An empty reference is the page's own address.
        link=LinkButton("" if kind.way_on == "try_again" else "/", say(f"buttons.{kind.way_on}")),
        code=code,
        request_id=request_id,
    )
    return page_reply(page, fields)


def page_reply(page: Page, fields: tuple[Field, ...] = ()) -> Reply:
    """Returns a page with the header fields that keep it harmless."""
    html = _template().render(page=page, hops=_hops(page.way), sign=_signs()[page.tone])
    code = ((b"Tunnel-Error", page.code.encode()),) if page.code else ()
    safety = (
        (b"Content-Security-Policy", _security_policy(page).encode()),
        *(() if page.may_be_framed else ((b"X-Frame-Options", b"DENY"),)),
        # A form without Referer is sent with `Origin: null`, which its own check against forgery must refuse.
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
    # No error: the sign-in only has to start again.
    return "locked" if kind.status in (401, 403) or kind.code == "login_restart" else "problem"


def way_of(kind: ErrorKind) -> Way | None:
    """Return the drawing for an error on the way to the app; None for one about the request itself."""
    broken = "relay" if kind.code in _RELAYS_OWN else _BROKEN_HOPS.get(kind.source, "")
    return Way(TUNNEL_HOPS, broken) if broken else None


def clean(text: str, limit: int) -> str:
    """Returns a stranger's text without control characters, cut to `limit` characters.

    Characters that turn the direction of text, or are not seen, count as control characters.
    """
    shown = "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
    return f"{shown}…" if len(text) > limit else shown


def outside(url: str) -> str:
    """Return a provider's URL if a link may use it, else "": plain http(s), no user part or odd characters."""
    return url if len(url) <= MAX_OUTSIDE and _OUTSIDE.fullmatch(url) else ""


def _hops(way: Way | None) -> list[tuple[str, str, str]]:
    """Return each station of a way: its state, the text below it, and the text for screen readers."""
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
    """The drawing of each tone."""
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
