"""The pages around signing in. None redirects by itself, as that could loop."""

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
"""Where the form "use another account" is sent, at the endpoint's own host."""

_UNNAMED_OWNERS = frozenset({"", "default", "local"})
"""Owners that name no person: the defaults of tokens and of agents on loopback."""
_PROVIDERS_FAULT = frozenset(
    {"provider_error", "provider_unreachable", "provider_busy", "login_misconfigured", "access_denied"}
)
DeclinedCode = Literal["access_denied", "login_unfinished", "login_misconfigured", "provider_busy", "provider_error"]
"""Whose fault a provider's error is: the visitor's (the first two), the setup's, or the provider's."""

About = Literal[
    "",
    # The visitor's doing: `login_unfinished`
    "account",
    "cancelled",
    "consent",
    "expired",
    "interaction",
    "login",
    "strength",
    # The setup's fault: `login_misconfigured`
    "client",
    "refused",
    "request",
    "scope",
    "untrusted",
]
"""Cases with texts of their own, `text_CASE` and `hint_CASE` in `en.toml` below `pages.` and the error's code."""


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
    """Return a login error as a page; only people meet these errors.

    Args:
        host: The endpoint; on the callback host, where nothing of a login is known, the relay's domain.
        owner: Whom to ask; left out when it is no name.
        quote: The provider's error text.
        text: What happened; replaces the text of the code.
        hint: What to do; replaces the hint of the code.
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
    """The page at the callback host for an answer that belongs to no login. Nothing in the answer is shown or followed.

    Args:
        host: The relay's domain.
        home: Its start page, which says how to find an app; "" for no button.
    """
    return stray_answer("login_state_invalid", request_id=request_id, host=host, home=home)


def stray_answer(code: str, *, request_id: str, host: str, home: str, address: str = "") -> Reply:
    """The page at the callback host for an answer that is not passed on.

    Args:
        host: The endpoint whose login it was; the relay's domain when that is not known for sure.
        home: The relay's start page.
        address: Where the visitor wanted to go; "" when that is not known for sure.
    """
    where = address or home
    link = LinkButton(where, say("buttons.start_again" if address else "buttons.relay")) if where else None
    return login_page(code, request_id=request_id, host=host, link=link)


def start_again(*, request_id: str, host: str, path: str = "/", fields: tuple[Field, ...] = ()) -> Reply:
    """The page for a login that was begun in another browser, was used already, or took too long.

    Args:
        path: Where the visitor wanted to go; the button leads there.
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
    """The page for a provider that answered with an error, or cannot be used as it is set up.

    Args:
        about: Which texts say what happened; "" for the code's own.
        path: Where the visitor wanted to go; the button leads there.
        error, description: The provider's own words.
        form: How to sign in with another account, where that is possible.
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
    """The page for a provider that could not be reached."""
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
    """The page for a person who signed in and whom the rules refuse.

    Args:
        who: The account, as its owner would recognise it.
        is_unverified: The only reason is that the provider does not report the account's e-mail address as verified.
        form: How to sign in with another account (`use_another`), where that is possible.
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
    """Returns the button with which a visitor signs in as another person.

    Args:
        token: What proves that the form came from our page.
        provider: The provider's authorization endpoint, where the answer leads.
    """
    return FormButton(USE_ANOTHER_PATH, say("buttons.use_another"), (("token", token),), (provider,))


def busy(*, request_id: str, host: str) -> Reply:
    """The error for a relay that cannot look up or store a login right now."""
    return error_reply("relay_busy", request_id=request_id, host=host, wants_html=True)


def login_required(
    kind: str, *, request_id: str, host: str, path: str, wants_html: bool, fields: tuple[Field, ...] = ()
) -> Reply:
    """The error for a request without a valid login that may not be redirected to one.

    Args:
        kind: What kind of request it is, as policy/classify.py names them; `form` and `frame` get pages of their own.
        path: The request's target in origin-form.
    """
    if kind == "form":
        return form_not_sent(request_id=request_id, host=host, path=path, fields=fields)
    if kind == "frame":
        return open_outside_frame(request_id=request_id, host=host, path=path, fields=fields)
    return error_reply("login_required", request_id=request_id, host=host, wants_html=wants_html, fields=fields)


def form_not_sent(*, request_id: str, host: str, path: str, fields: tuple[Field, ...] = ()) -> Reply:
    """The page for a form that arrived after the login had ended; its content is lost.

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
    """The page for a request from a frame, where no login may be shown."""
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
    """The page for a sign-in that is too old or too weak for this endpoint."""
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
    """Ask before logging out, so that no image or link of another page can do it."""
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
    """Returns the button that signs out.

    Args:
        everywhere: Name of a second button, which signs out at the provider too; "" for none.
        leads_to: The provider's own sign-out, where the second button goes.
    """
    second = Submit(everywhere, say("buttons.sign_out_everywhere")) if everywhere else None
    return FormButton(action, say("buttons.sign_out"), (("token", token),), leads_to, second)


def logged_out(
    *,
    host: str,
    is_everywhere: bool = False,
    provider_sign_out: str = "",
) -> Reply:
    """The page after signing out, which says whether the visitor is signed out at the provider too.

    Args:
        is_everywhere: Signed out at the provider too; False when that is not known.
        provider_sign_out: The provider's own sign-out page, where there is one.
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
    """Return the path if it stays on this host in every browser, else `/`: `//evil` and `/\\evil` would not."""
    is_own = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isascii() and path.isprintable()
    return path if is_own else "/"
