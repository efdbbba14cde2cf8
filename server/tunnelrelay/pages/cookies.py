"""Lets a visitor clear cookies that are so large that all of their requests are refused.

Any sibling host can set such cookies, and the app cannot remove them, as the relay refuses every request before the app
gets it. The refusal page therefore has a button; the ingress recognises its request by the start of the request's head.
"""

from tunnelrelay.model import Reply
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import MAX_HOST, FormButton, LinkButton, Page, clean, error_reply, page_reply
from tunnelrelay.pages.texts import say

CLEAR_COOKIES_PATH = "/_tunnel/clear-cookies"


def head_too_large(*, request_id: str, host: str, wants_html: bool) -> Reply:
    """Return the error for a request head that is too large; for a browser on a known host, a page with the button."""
    if not host or not wants_html:
        return error_reply("head_too_large", request_id=request_id, host=host, wants_html=wants_html)
    host = clean(host, MAX_HOST)
    page = Page(
        status=ERRORS["head_too_large"].status,
        title=say("pages.cookies_too_large.title"),
        tone="problem",
        host=host,
        text=say("pages.cookies_too_large.text", host=host),
        hint=say("pages.cookies_too_large.hint"),
        form=FormButton(CLEAR_COOKIES_PATH, say("buttons.clear_cookies")),
        code="head_too_large",
        request_id=request_id,
    )
    return page_reply(page)


def cookies_cleared(*, host: str) -> Reply:
    """Return the response that clears the cookies of the whole site. Must be sent only after a press of the button."""
    host = clean(host, MAX_HOST)
    page = Page(
        status=200,
        title=say("pages.cookies_cleared.title"),
        tone="done",
        host=host,
        text=say("pages.cookies_cleared.text", host=host),
        hint=say("pages.cookies_cleared.hint"),
        link=LinkButton("/", say("buttons.go_on")),
    )
    return page_reply(page, ((b"Clear-Site-Data", b'"cookies"'),))
