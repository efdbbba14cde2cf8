"""Read an HTML form that a user has sent."""

from collections.abc import Iterable

from starlette.requests import Request

from tunnelrelay.web.request_parsing import Params, form_params

MAX_FORM = 48 * 1024
"""Bytes of a form. The largest one has lists of people and networks; the ingress accepts 64 KB."""
MAX_FIELDS = 128


class Form:
    """The fields of a sent form, by name. Methods strip white space from values, except `secret`."""

    def __init__(self, params: Iterable[tuple[str, str]] = ()) -> None:
        self._params: Params = list(params)

    def text(self, name: str) -> str:
        """Return a field's value, "" without one. Of several it is the last: a check box follows its hidden default."""
        return next((value.strip() for found, value in reversed(self._params) if found == name), "")

    def secret(self, name: str) -> str:
        """Return a field's value exactly as it was typed, with white space."""
        return next((value for found, value in reversed(self._params) if found == name), "")

    def texts(self, name: str) -> list[str]:
        """Return all values of a field that are not empty."""
        return [value.strip() for found, value in self._params if found == name and value.strip()]

    def lines(self, name: str) -> tuple[str, ...]:
        """Return a field's lines that are not empty. Commas separate lines too, as in pasted lists of addresses."""
        return tuple(line for text in self.texts(name) for part in text.splitlines() if (line := part.strip(" \t,")))

    def words(self, name: str) -> tuple[str, ...]:
        """Return a field's words, which white space or commas separate."""
        return tuple(word for text in self.texts(name) for word in text.replace(",", " ").split())

    def has(self, name: str) -> bool:
        """Whether a check box is checked."""
        return self.text(name) not in ("", "0")

    def __contains__(self, name: str) -> bool:
        return any(found == name for found, _ in self._params)


async def read_form(request: Request) -> Form | None:
    """Return the form in a request's body; None when the body is no form, or too large."""
    params = await form_params(request, max_bytes=MAX_FORM, max_params=MAX_FIELDS)
    return None if params is None else Form(params)
