"""The page at the relay's own domain."""

from tunnelrelay.model import Reply
from tunnelrelay.pages.page import MAX_QUOTE, LinkButton, Page, clean, page_reply
from tunnelrelay.pages.texts import say


def landing_page(*, url: str, dashboard: str) -> Reply:
    """Return the page, which says what the service is and how to publish an app.

    Args:
        url: The relay's address as agents dial it.
        dashboard: The dashboard's address.
    """
    page = Page(
        status=200,
        title=say("pages.landing.title"),
        tone="plain",
        text=say("pages.landing.text"),
        command_label=say("pages.landing.command_label"),
        command=clean(f"tunnel http 3000 --relay {url}", MAX_QUOTE),
        hint=say("pages.landing.hint"),
        link=LinkButton(dashboard, say("buttons.dashboard")),
    )
    return page_reply(page)
