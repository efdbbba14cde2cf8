"""The HTML pages of the test issuer: the choice of a user, and errors. Each says that the issuer is unsafe."""

from collections.abc import Sequence
from html import escape

from tunnelctl.devissuer.users import DevUser
from tunnelctl.localapi.message import ApiAnswer

UNSAFE = "UNSAFE: for tests only"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#1c2127}"
    "p.unsafe{background:#a3160b;color:#fff;padding:.5rem .75rem;border-radius:6px;font-weight:600}"
    "button{font:inherit;display:block;width:100%;text-align:left;margin:.5rem 0;padding:.7rem 1rem;cursor:pointer}"
)
_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)


def choose_user(users: Sequence[DevUser], *, client_id: str, request: str, path: str) -> ApiAnswer:
    """Return the page on which a person chooses the user to sign in as.

    Args:
        request: The query of the authorization request, which the form sends again.
        path: Path to which the form is sent.
    """
    buttons = "".join(
        f'<button name="user" value="{escape(user.sub)}">{escape(str(user.claims.get("name", user.sub)))} '
        f"<small>{escape(user.sub)}</small></button>"
        for user in users
    )
    return _page(
        "Sign in",
        f"<p><strong>{escape(client_id)}</strong> asks who you are. There is no password.</p>"
        f'<form method="post" action="{escape(path)}">'
        f'<input type="hidden" name="request" value="{escape(request)}">{buttons}</form>',
    )


def problem(text: str, status: int = 400) -> ApiAnswer:
    """Return a page for a request whose error cannot be sent to the client."""
    return _page("That does not work", f"<p>{escape(text)}</p>", status)


def start(issuer: str) -> ApiAnswer:
    """Return the issuer's start page, which says what it is."""
    return _page("Test issuer", f"<p>This is the OpenID provider <code>{escape(issuer)}</code>.</p>")


def _page(title: str, content: str, status: int = 200) -> ApiAnswer:
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} ({UNSAFE})</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        f'{_STYLE}</style><main><p class="unsafe">{UNSAFE}. Everyone here can sign in as anyone.</p>'
        f"<h1>{title}</h1>{content}</main></html>"
    )
    return ApiAnswer(status=status, body=body.encode(), content_type="text/html; charset=utf-8", fields=_HEADERS)
