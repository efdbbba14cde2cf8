"""The page at the relay's own domain."""

from tunnelrelay.model import Reply
from tunnelrelay.pages.page import Page, page_reply


def landing_page(*, url: str) -> Reply:
    """Says what this is, and how to publish something.

    Args:
        url: The relay's address as agents dial it.
    """
    page = Page(
        status=200,
        title="This is a tunnel relay",
        text=("It gives local apps a public address that only the right people can open.",),
        command=f"tunnel http 3000 --relay {url}",
        hint="Looking for an app? It has an address of its own under this domain: ask whoever published it.",
    )
    return page_reply(page)
