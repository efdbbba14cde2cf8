"""A visitor who keeps cookies and can sign in: an httpx client that connects to loopback for names under `.localhost`.

Python does not resolve `*.localhost`, so the transport connects to 127.0.0.1 and leaves the name in Host.
"""

import ssl
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.support.waiting import PATIENCE

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}
"""The header fields that a browser sends when a person opens a URL."""

MAX_HOPS = 12

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""TLS context for clients that use only http: loading the usual certificate authorities would take each 0.03 s."""


class LoopbackTransport(httpx.HTTPTransport):
    """httpx transport that connects to 127.0.0.1 by http for `localhost` and names under it, and keeps the Host."""

    def __init__(self) -> None:
        super().__init__(verify=NO_TLS, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host != "localhost" and not host.endswith(".localhost"):
            return super().handle_request(request)
        # The URL is changed in a copy, as the client stores cookies under the URL of its request.
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return super().handle_request(sent)


class Visitor:
    """A visitor of endpoints that keeps cookies, follows redirects and submits forms, as a person with a browser does.

    Attributes:
        went: The targets of all redirects that the visitor has followed, in order.
        stops_at: Whether not to follow a redirect to a URL; by default all are followed.
    """

    def __init__(self) -> None:
        self.client = httpx.Client(transport=LoopbackTransport(), timeout=PATIENCE, trust_env=False)
        self.went: list[str] = []
        self.stops_at: Callable[[str], bool] = lambda _url: False

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()

    def get(self, url: str, **kwargs: Any) -> httpx.Response:
        """Send a request as a program does, without following redirects."""
        return self.client.get(url, **kwargs)

    def navigate(self, url: str) -> httpx.Response:
        """Open a URL as a browser does, following redirects. Returns the last page, or the redirect it stopped at."""
        response = self.client.get(url, headers=NAVIGATION)
        return self._follow(response)

    def _follow(self, response: httpx.Response) -> httpx.Response:
        for _ in range(MAX_HOPS):
            if response.status_code not in {301, 302, 303, 307}:
                return response
            target = urljoin(page_url(response), response.headers["location"])
            self.went.append(target)
            if self.stops_at(target):
                return response
            response = self.client.get(target, headers=NAVIGATION)
        raise AssertionError(f"more than {MAX_HOPS} redirects, last to {response.headers['location']}")

    def submit(self, page: httpx.Response, **values: str) -> httpx.Response:
        """Submit the first form of a page with its hidden inputs and `values`, following redirects."""
        form = FormReader.first(page.text)
        target = urljoin(page_url(page), form.action)
        data = {**form.hidden, **values}
        origin = urljoin(page_url(page), "/").rstrip("/")
        site = "same-origin" if target.startswith(f"{origin}/") else "cross-site"
        headers = {**NAVIGATION, "Origin": origin, "Sec-Fetch-Site": site}
        return self._follow(self.client.post(target, data=data, headers=headers))

    def login(self, url: str, user: str) -> httpx.Response:
        """Open a URL and sign in as a user at the test provider that it redirects to. Returns the last page."""
        return self.sign_in(self.navigate(url), user)

    def sign_in(self, page: httpx.Response, user: str) -> httpx.Response:
        """Fill in the forms of the test provider whose login page is given. Returns the last page."""
        if "unsafe-dev-issuer/authorize" in page_url(page):  # `tunnel dev-issuer`
            return self.submit(page, user=user)
        if "oauth2/authorize" in page_url(page):  # oidc-provider-mock has one form
            return self.submit(page, sub=user)
        if "name=login" in page.text:
            page = self.submit(page, login=user, password=user, action="login")
        if "<title>Consent" in page.text:
            page = self.submit(page, action="consent")
        if 'id="loginform"' in page.text:  # canaille
            page = self.submit(self.submit(page, login=user), password=user)
        if 'id="authorizeform"' in page.text:
            page = self.submit(page, answer="accept")
        return page


def page_url(response: httpx.Response) -> str:
    """Return the URL of a page."""
    return str(response.request.url)


class FormReader(HTMLParser):
    """Parses the first form of an HTML page: its action and its hidden inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.forms = 0

    @classmethod
    def first(cls, html: str) -> "FormReader":
        """Parse the first form of an HTML page.

        Raises:
            AssertionError: The page has no form.
        """
        reader = cls()
        reader.feed(html)
        assert reader.forms, f"no form on this page:\n{html[:2000]}"
        return reader

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the action and the hidden inputs of the first form."""
        values = {name: value or "" for name, value in attrs}
        self.forms += tag == "form"
        if self.forms != 1:
            return
        if tag == "form":
            self.action = values.get("action", "")
        elif tag == "input" and values.get("type") == "hidden":
            self.hidden[values["name"]] = values.get("value", "")
