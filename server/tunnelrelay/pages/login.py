"""The pages around signing in. None of them goes anywhere by itself: a page that did could go round in circles."""

from tunnelrelay.model import Field, Reply
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import MAX_HOST, MAX_QUOTE, Form, Link, Page, clean, error_reply, page_reply, words_of

_UNNAMED_OWNERS = frozenset({"", "default", "local"})
"""Owners that are no person's name but what a token or a loopback agent is called without one."""
_START_AGAIN = Link("/", "Start again")


def login_page(
    code: str,
    *,
    request_id: str,
    host: str = "",
    owner: str = "",
    quote: str = "",
    facts: tuple[tuple[str, str], ...] = (),
    link: Link | None = None,
    form: Form | None = None,
    fields: tuple[Field, ...] = (),
) -> Reply:
    """Returns an error of the login as a page: such errors are only ever met by people.

    Args:
        host: The endpoint; "" on the callback host, where nothing of a login is known.
        owner: Whom to ask; left out when it is no name.
        quote: The provider's own words.
    """
    kind = ERRORS[code]
    page = Page(
        status=kind.status,
        title=kind.title,
        host=clean(host, MAX_HOST),
        text=(words_of(kind, clean(host, MAX_HOST)),),
        quote=clean(quote, MAX_QUOTE),
        facts=(*facts, *_whom_to_ask(owner)),
        hint=kind.hint,
        link=link,
        form=form,
        code=code,
        request_id=request_id,
    )
    return page_reply(page, fields)


def state_invalid(*, request_id: str) -> Reply:
    """E1, on the callback host: an answer that belongs to no login of ours. Nothing in it is shown or followed."""
    return login_page("login_state_invalid", request_id=request_id)


def start_again(*, request_id: str, host: str, fields: tuple[Field, ...] = ()) -> Reply:
    """E2: the login was begun in another browser, was used already, or took too long."""
    return login_page("login_restart", request_id=request_id, host=host, link=_START_AGAIN, fields=fields)


def provider_error(
    *,
    request_id: str,
    host: str,
    error: str = "",
    description: str = "",
    owner: str = "",
    fields: tuple[Field, ...] = (),
) -> Reply:
    """E3: the provider answered with an error, or with something that is no good token.

    Args:
        error: The provider's error code; `access_denied` gets a page of its own.
        description: The provider's `error_description`.
    """
    return login_page(
        "access_denied" if error == "access_denied" else "provider_error",
        request_id=request_id,
        host=host,
        owner=owner,
        quote=": ".join(text for text in (error, description) if text),
        link=_START_AGAIN,
        fields=fields,
    )


def provider_unreachable(*, request_id: str, host: str, fields: tuple[Field, ...] = ()) -> Reply:
    """The provider could not be asked."""
    return login_page("provider_unreachable", request_id=request_id, host=host, link=_START_AGAIN, fields=fields)


def not_admitted(
    *, request_id: str, host: str, who: str, owner: str = "", form: Form | None = None, fields: tuple[Field, ...] = ()
) -> Reply:
    """E4: signed in, and not among those who are let in.

    Args:
        who: The account, as its owner would recognise it.
        form: How to sign in with another account, where that is possible.
    """
    facts = (("Signed in as", clean(who, MAX_QUOTE)),)
    return login_page(
        "not_admitted", request_id=request_id, host=host, owner=owner, facts=facts, form=form, fields=fields
    )


def busy(*, request_id: str, host: str) -> Reply:
    """E5: the relay cannot look up or keep a login right now."""
    return error_reply("relay_busy", request_id=request_id, host=host, wants_html=True)


def login_required(
    visit: str, *, request_id: str, host: str, path: str, wants_html: bool, fields: tuple[Field, ...] = ()
) -> Reply:
    """A request without a good sign-in that may not be sent to one.

    Args:
        visit: What kind of visit it is, as policy/classify.py names them; `form` and `frame` get pages of their own.
        path: The request's target in origin-form.
    """
    if visit == "form":
        return form_not_sent(request_id=request_id, host=host, path=path, fields=fields)
    if visit == "frame":
        return open_outside_frame(request_id=request_id, host=host, path=path, fields=fields)
    return error_reply("login_required", request_id=request_id, host=host, wants_html=wants_html, fields=fields)


def form_not_sent(*, request_id: str, host: str, path: str, fields: tuple[Field, ...] = ()) -> Reply:
    """A form arrived after the sign-in was over. What was in it is gone, and the page says so.

    Args:
        path: The request's target in origin-form; the link opens it with GET.
    """
    page = Page(
        status=401,
        title="You are signed out",
        host=clean(host, MAX_HOST),
        text=("Your form was not sent, because your sign-in has ended.",),
        hint="Sign in, fill it in again and send it. Going back in the browser may bring back what you typed.",
        link=Link(_own_path(path), "Sign in"),
        code="login_required",
        request_id=request_id,
    )
    return page_reply(page, fields)


def open_outside_frame(*, request_id: str, host: str, path: str, fields: tuple[Field, ...] = ()) -> Reply:
    """A page behind a login was asked for inside another page, where no login may show."""
    page = Page(
        status=401,
        title="Sign in to see this",
        host=clean(host, MAX_HOST),
        text=("This part of the page is behind a sign-in, which cannot be shown inside another page.",),
        link=Link(_own_path(path), "Open and sign in", leaves_frame=True),
        code="login_required",
        request_id=request_id,
        may_be_framed=True,
    )
    return page_reply(page, fields)


def logout_confirmation(*, host: str, who: str, form: Form) -> Reply:
    """Asks before logging out, so that no image or link of another page can do it."""
    page = Page(
        status=200,
        title="Sign out?",
        host=clean(host, MAX_HOST),
        facts=(("Signed in as", clean(who, MAX_QUOTE)),) if who else (),
        form=form,
    )
    return page_reply(page)


def logged_out(*, host: str, fields: tuple[Field, ...] = ()) -> Reply:
    """Says that it is done."""
    page = Page(
        status=200,
        title="You are signed out",
        host=clean(host, MAX_HOST),
        text=("Your sign-in at this address has ended.",),
        hint="You may still be signed in at the sign-in service itself; on a shared computer, sign out there too.",
        link=Link("/", "Sign in again"),
    )
    return page_reply(page, fields)


def _whom_to_ask(owner: str) -> tuple[tuple[str, str], ...]:
    return () if owner in _UNNAMED_OWNERS else (("Published by", clean(owner, MAX_QUOTE)),)


def _own_path(path: str) -> str:
    """A path that stays on this host, whatever a browser makes of it: `//evil` and `/\\evil` would not."""
    is_own = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isascii() and path.isprintable()
    return path if is_own else "/"
