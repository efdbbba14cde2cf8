"""Reads a page as a browser's accessibility tree and its security policy would."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from tunnelrelay.model import Reply


def fields(reply: Reply) -> dict[str, str]:
    """The header fields by lower-case name; each at most once."""
    found = {name.decode().lower(): value.decode() for name, value in reply.fields}
    assert len(found) == len(reply.fields), "a field stands there twice"
    return found


class PageRead(HTMLParser):
    """What is in a page: elements with their attributes, and the text outside of `style`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(reply.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are closed in order"

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]


def style_source(reply: Reply) -> str:
    """The CSP source that allows just this page's style."""
    style = re.search(rb"<style>(.*?)</style>", reply.body, re.DOTALL)
    assert style is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(style[1]).digest()).decode()}'"
