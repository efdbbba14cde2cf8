"""The pages about signing in and out. None of them redirects by itself, as that could loop."""

from typing import Literal

from tunnelrelay.model import Field, Reply
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import (
    LOGIN_HOPS,
    MAX_HOST,
    MAX_QUOTE,
    FormButton,
    LinkButton,
    Page,
    Submit,
    Way,
    clean,
    error_reply,
    message_of,
    outside,
    page_reply,
    tone_of,
)
from tunnelrelay.pages.texts import say

USE_ANOTHER_PATH = "/_tunnel/switch"
"""Path at the endpoint's own host that the form "use another account" is sent to."""

_UNNAMED_OWNERS = frozenset({"", "default", "local"})
"""Owners that do not name a person: the defaults of tokens and of agents on loopback."""
_PROVIDERS_FAULT = frozenset(
    {"provider_error", "provider_unreachable", "provider_busy", "login_misconfigured", "access_denied"}
)
DeclinedCode = Literal["access_denied", "login_unfinished", "login_misconfigured", "provider_busy", "provider_error"]
"""Error codes for a provider's error, by its cause: the visitor (the first two), the configuration, or the provider."""

About = Literal[
    "",
    # Caused by the visitor: `login_unfinished`
    "account",
    "cancelled",
    "consent",
    "expired",
    "interaction",
    "login",
    "strength",
    # Caused by the configuration: `login_misconfigured`
    "client",
    "refused",
    "request",
    "scope",
    "untrusted",
]
"""Causes of login errors that select their own texts: `text_CASE` and `hint_CASE` in `en.toml`, below `pages.` and the
error's code."""


def login_page(
    code: str,
    *,
    request_id: str,
    host: str = "",
    owner: str = "",
    quote: str = "",
    text: str = "",
    hint: str = "",
    facts: tuple[tuple[str, str], ...] = (),
    link: LinkButton | None = None,
    form: FormButton | None = None,
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Return a page about a login error. Programs never get these errors, so there is no JSON form.

    Args:
        host: Host of the endpoint; on the callback host, where the login is unknown, the relay's domain.
        owner: The owner that the visitor can ask for help; not shown when it is not a name.
        quote: Error text of the provider.
        text: Description of the error; replaces the code's own text.
        hint: Advice to the visitor; replaces the code's own hint.
    """
    kind = ERRORS[code]
    host = clean(host, MAX_HOST)
    page = Page(
        status=kind.status,
        title=say(f"errors.{code}.title"),
        tone=tone_of(kind),
        host=host,
        text=text or message_of(code, host),
        quote=clean(quote, MAX_QUOTE),
        quote_by=say("labels.provider_says") if quote else "",
        way=Way(LOGIN_HOPS, "provider") if code in _PROVIDERS_FAULT else None,
        facts=(*facts, *_whom_to_ask(owner)),
        hint=hint or say(f"errors.{code}.hint"),
        link=link,
        form=form,
        code=code,
        request_id=request_id,
    )
    return page_reply(page, fields)


def state_invalid(*, request_id: str, host: str = "", home: str = "") -> Reply:
    """Return the callback host's page for a provider's response that matches no login.

    It shows or follows no part of the response.

    Args:
        host: The relay's domain.
        home: The relay's start page, which says how to find an app; "" for no button.
    """
    return stray_answer("login_state_invalid", request_id=request_id, host=host, home=home)


def stray_answer(code: str, *, request_id: str, host: str, home: str, address: str = "") -> Reply:
    """Return the callback host's page for a provider's response that is not forwarded to an endpoint.

    Args:
        host: Host of the endpoint with the login; the relay's domain when the endpoint is uncertain.
        home: The relay's start page.
        address: The URL that the visitor wanted to open; "" when it is uncertain.
    """
    where = address or home
    link = LinkButton(where, say("buttons.start_again" if address else "buttons.relay")) if where else None
    return login_page(code, request_id=request_id, host=host, link=link)


def start_again(*, request_id: str, host: str, path: str = "/", fields: tuple[Field, ...] = ()) -> Reply:
    """Return the page for a login that was begun in another browser, was used already, or took too long.

    Args:
        path: The path that the visitor wanted to open; the button leads there.
    """
    link = _own_link(path, "start_again")
    return login_page("login_restart", request_id=request_id, host=host, link=link, fields=fields)


def declined(
    code: DeclinedCode,
    about: About = "",
    *,
    request_id: str,
    host: str,
    path: str = "/",
    error: str = "",
    description: str = "",
    owner: str = "",
    form: FormButton | None = None,
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Return the page for a provider that responded with an error, or cannot be used as configured.

    Args:
        about: Key of the texts that describe the case; "" for the code's own texts.
        path: The path that the visitor wanted to open; the button leads there.
        error, description: Error code and text from the provider.
        form: Button to sign in with another account, if possible.
    """
    shown = clean(host, MAX_HOST)
    return login_page(
        code,
        request_id=request_id,
        host=host,
        owner=owner,
        text=say(f"pages.{code}.text_{about}", host=shown) if about else "",
        hint=say(f"pages.{code}.hint_{about}") if about else "",
        quote=": ".join(text for text in (error, description) if text),
        link=_own_link(path, "try_again"),
        form=form,
        fields=fields,
    )


def provider_unreachable(*, request_id: str, host: str, path: str = "/", fields: tuple[Field, ...] = ()) -> Reply:
    """Return the page for a provider that could not be reached."""
    link = _own_link(path, "try_again")
    return login_page("provider_unreachable", request_id=request_id, host=host, link=link, fields=fields)


def not_admitted(
    *,
    request_id: str,
    host: str,
    who: str,
    owner: str = "",
    is_unverified: bool = False,
    form: FormButton | None = None,
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Return the page for a visitor who signed in but is refused by the rules.

    Args:
        who: The account in a form that its owner recognises.
        is_unverified: The only reason is that the provider does not report the account's e-mail address as verified.
        form: Button to sign in with another account (`use_another`), if possible.
    """
    shown = clean(host, MAX_HOST)
    return login_page(
        "not_admitted",
        request_id=request_id,
        host=host,
        owner=owner,
        text=say("pages.not_admitted.text_unverified", host=shown) if is_unverified else "",
        hint=say("pages.not_admitted.hint_unverified") if is_unverified else "",
        facts=_as_whom(who),
        link=None if form else _home("try_again"),
        form=form,
        fields=fields,
    )


def use_another(*, token: str, provider: str) -> FormButton:
    """Return the button with which a visitor signs in with another account.

    Args:
        token: Proof that the form came from our page.
        provider: The provider's authorization endpoint, which the response redirects to.
    """
    return FormButton(USE_ANOTHER_PATH, say("buttons.use_another"), (("token", token),), (provider,))


def busy(*, request_id: str, host: str) -> Reply:
    """Return the error for a relay that cannot look up or store a login at the moment."""
    return error_reply("relay_busy", request_id=request_id, host=host, wants_html=True)


def login_required(
    kind: str, *, request_id: str, host: str, path: str, wants_html: bool, fields: tuple[Field, ...] = ()
) -> Reply:
    """Return the error for a request without a valid login that must not be redirected to one.

    Args:
        kind: Kind of the request, as in policy/classify.py; `form` and `frame` get pages of their own.
        path: The request's target in origin-form.
    """
    if kind == "form":
        return form_not_sent(request_id=request_id, host=host, path=path, fields=fields)
    if kind == "frame":
        return open_outside_frame(request_id=request_id, host=host, path=path, fields=fields)
    return error_reply("login_required", request_id=request_id, host=host, wants_html=wants_html, fields=fields)


def form_not_sent(*, request_id: str, host: str, path: str, fields: tuple[Field, ...] = ()) -> Reply:
    """Return the page for a form that was sent after the login had expired; its content is lost.

    Args:
        path: The request's target in origin-form; the link opens it with GET.
    """
    page = Page(
        status=401,
        title=say("pages.form_not_sent.title"),
        tone="locked",
        host=clean(host, MAX_HOST),
        text=say("pages.form_not_sent.text"),
        hint=say("pages.form_not_sent.hint"),
        link=LinkButton(_own_path(path), say("buttons.sign_in")),
        code="login_required",
        request_id=request_id,
    )
    return page_reply(page, fields)


def open_outside_frame(*, request_id: str, host: str, path: str, fields: tuple[Field, ...] = ()) -> Reply:
    """Return the page for a request from a frame, in which no login may be shown."""
    page = Page(
        status=401,
        title=say("pages.frame.title"),
        tone="locked",
        host=clean(host, MAX_HOST),
        text=say("pages.frame.text"),
        link=LinkButton(_own_path(path), say("buttons.open_outside"), leaves_frame=True),
        code="login_required",
        request_id=request_id,
        may_be_framed=True,
    )
    return page_reply(page, fields)


def sign_in_again(
    reason: Literal["too_old", "too_weak"],
    *,
    request_id: str,
    host: str,
    path: str = "/",
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Return the page for a sign-in that is too old or too weak for this endpoint."""
    host = clean(host, MAX_HOST)
    page = Page(
        status=401,
        title=say("pages.sign_in_again.title"),
        tone="locked",
        host=host,
        text=say(f"pages.sign_in_again.text_{reason}", host=host),
        hint=say("pages.sign_in_again.hint"),
        link=LinkButton(_own_path(path), say("buttons.sign_in_again")),
        code="login_required",
        request_id=request_id,
    )
    return page_reply(page, fields)


def logout_confirmation(*, host: str, who: str, form: FormButton) -> Reply:
    """Return the page that asks before logging out, so that no image or link of another page can log visitors out."""
    host = clean(host, MAX_HOST)
    page = Page(
        status=200,
        title=say("pages.sign_out.title"),
        tone="ask",
        host=host,
        text=say("pages.sign_out.text", host=host),
        facts=_as_whom(who) if who else (),
        form=form,
        link=_home("stay"),
    )
    return page_reply(page)


def sign_out(*, action: str, token: str, everywhere: str = "", leads_to: tuple[str, ...] = ()) -> FormButton:
    """Return the button that signs out.

    Args:
        everywhere: Name of a second button that also signs out at the provider; "" for none.
        leads_to: The provider's sign-out URL, which the second button redirects to.
    """
    second = Submit(everywhere, say("buttons.sign_out_everywhere")) if everywhere else None
    return FormButton(action, say("buttons.sign_out"), (("token", token),), leads_to, second)


def logged_out(
    *,
    host: str,
    is_everywhere: bool = False,
    provider_sign_out: str = "",
) -> Reply:
    """Return the page after signing out. It says whether the visitor is signed out at the provider too.

    Args:
        is_everywhere: The visitor is signed out at the provider too; False when that is unknown.
        provider_sign_out: URL of the provider's own sign-out page, if there is one.
    """
    key = "_everywhere" if is_everywhere else ""
    host, logout_url = clean(host, MAX_HOST), outside(provider_sign_out)
    page = Page(
        status=200,
        title=say("pages.signed_out.title"),
        tone="done",
        host=host,
        text=say(f"pages.signed_out.text{key}", host=host),
        hint=say(f"pages.signed_out.hint{key}"),
        link=_home("sign_in_again"),
        second_link=LinkButton(logout_url, say("buttons.sign_out_at_provider")) if logout_url else None,
    )
    return page_reply(page)


def _home(button: str) -> LinkButton:
    return _own_link("/", button)


def _own_link(path: str, button: str) -> LinkButton:
    return LinkButton(_own_path(path), say(f"buttons.{button}"))


def _as_whom(who: str) -> tuple[tuple[str, str], ...]:
    return ((say("labels.account"), clean(who, MAX_QUOTE)),)


def _whom_to_ask(owner: str) -> tuple[tuple[str, str], ...]:
    return () if owner in _UNNAMED_OWNERS else ((say("labels.owner"), clean(owner, MAX_QUOTE)),)


def _own_path(path: str) -> str:
    """Return the path if every browser stays on this host for it, else `/`: `//evil` and `/\\evil` would leave the
    host.
    """
    is_own = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isascii() and path.isprintable()
    return path if is_own else "/"
