"""Writes the relay's own answers: pages for people, JSON for programs. What they say comes from errors.py and login.py.

A page runs no script, loads nothing, and may not be framed; its one inline style is allowed by its hash. Everything
that did not come from this package (host names, a provider's words, an agent's) is cut, cleaned and escaped here.
"""

import base64
import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import jinja2
import msgspec
from markupsafe import Markup

from tunnelrelay.model import Field, Reply
from tunnelrelay.pages.errors import ERRORS, ErrorKind

MAX_QUOTE = 300
"""Characters of anybody else's words that are shown: enough for a reason, too few for a message of their own."""
MAX_HOST = 253

HOPS = ("You", "Relay", "Agent", "App")
"""The way of a request, as the pages draw it."""
_BROKEN_HOPS = {"agent": "Agent", "upstream": "App"}

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")
_BASE_POLICY = "default-src 'none'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class Link:
    """A link drawn as a button.

    Attributes:
        href: A path on this host.
        leaves_frame: Open it in the whole window, when the page is inside another one.
    """

    href: str
    label: str
    leaves_frame: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A button that POSTs.

    Attributes:
        action: A path on this host.
        hidden: (name, value) pairs sent with it, such as a CSRF token.
        leads_to: Addresses its answer may redirect to; only scheme, host and port count. Browsers hold redirects after
            a form to the page's `form-action`, so a form that leads to a provider must say so.
    """

    action: str
    label: str
    hidden: tuple[tuple[str, str], ...] = ()
    leads_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one page shows.

    Attributes:
        host: The host it is about; "" for none.
        text: Paragraphs.
        quote: Somebody else's words, marked as such.
        broken_hop: One of `HOPS`: draws the way of the request and where it ended.
        facts: (name, value) pairs.
        command: Something to type in a terminal.
        hint: What to do.
        code: The error's code; "" when it is none.
        may_be_framed: Only for pages whose one link leaves the frame.
    """

    status: int
    title: str
    host: str = ""
    text: tuple[str, ...] = ()
    quote: str = ""
    broken_hop: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    command: str = ""
    hint: str = ""
    link: Link | None = None
    form: Form | None = None
    code: str = ""
    request_id: str = ""
    may_be_framed: bool = False


def error_reply(
    code: str, *, request_id: str, host: str, wants_html: bool, detail: str = "", fields: tuple[Field, ...] = ()
) -> Reply:
    """Returns an error of the table as a page or as JSON.

    Args:
        code: One of `ERRORS`.
        host: The host the visitor asked for, "" when unknown.
        detail: What exactly happened; shown to the visitor, so never a secret.
        fields: More header fields, such as `WWW-Authenticate`.
    """
    kind = ERRORS[code]
    host = clean(host, MAX_HOST)
    message, detail = words_of(kind, host), clean(detail, MAX_QUOTE)
    if kind.retry_after:
        fields = (*fields, (b"Retry-After", b"%d" % kind.retry_after))
    if not wants_html:
        return _json_reply(kind, message, detail, request_id, fields)
    page = Page(
        status=kind.status,
        title=kind.title,
        host=host,
        text=(message,),
        quote=detail,
        broken_hop=_BROKEN_HOPS.get(kind.source, ""),
        hint=kind.hint,
        code=code,
        request_id=request_id,
    )
    return page_reply(page, fields)


def page_reply(page: Page, fields: tuple[Field, ...] = ()) -> Reply:
    """Returns a page with the header fields that keep it harmless."""
    template, style = _template()
    html = template.render(page=page, hops=HOPS, style=style)
    code = ((b"Tunnel-Error", page.code.encode()),) if page.code else ()
    safety = (
        (b"Content-Security-Policy", _security_policy(page).encode()),
        *(() if page.may_be_framed else ((b"X-Frame-Options", b"DENY"),)),
        # A form without Referer is sent with `Origin: null`, which its own check against forgery must refuse.
        (b"Referrer-Policy", b"strict-origin" if page.form else b"no-referrer"),
    )
    content = (b"Content-Type", b"text/html; charset=utf-8")
    return Reply(page.status, (content, *_common_fields(), *code, *safety, *fields), html.encode())


def words_of(kind: ErrorKind, host: str) -> str:
    """Returns an error's message with the host in its place."""
    return kind.message.replace("{host}", host or "this address")


def clean(text: str, limit: int) -> str:
    """Returns somebody else's text without control characters, cut to `limit` characters."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()


def _json_reply(kind: ErrorKind, message: str, detail: str, request_id: str, fields: tuple[Field, ...]) -> Reply:
    error = {
        "code": kind.code,
        "source": kind.source,
        "message": f"{message} ({detail})" if detail else message,
        "hint": kind.hint,
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
    targets = [found[0] for url in page.form.leads_to if (found := _ORIGIN.match(url))] if page.form else []
    parts.append(" ".join(["form-action", "'self'", *targets]) if page.form else "form-action 'none'")
    if not page.may_be_framed:
        parts.append("frame-ancestors 'none'")
    return "; ".join(parts)


@functools.cache
def _style() -> str:
    return resources.files("tunnelrelay.pages").joinpath("templates", "style.css").read_text(encoding="utf-8").strip()


@functools.cache
def _style_hash() -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()}'"


@functools.cache
def _template() -> tuple[jinja2.Template, Markup]:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tunnelrelay.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html"), Markup(_style())  # noqa: S704 (our own file)
