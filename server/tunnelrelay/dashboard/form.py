"""Read the form that a user has sent."""

from collections.abc import Iterable

from starlette.requests import Request

from tunnelrelay.web.request_parsing import Params, form_params

MAX_FORM = 48 * 1024
"""The largest has lists of people and networks; the ingress takes 64 KB."""
MAX_FIELDS = 128


class Form:
    """Its fields, by name. Texts come without white space around them."""

    def __init__(self, params: Iterable[tuple[str, str]] = ()) -> None:
        self._params: Params = list(params)

    def text(self, name: str) -> str:
        """The field's value, "" without one; the last of several, since a check box follows its hidden default."""
        return next((value.strip() for found, value in reversed(self._params) if found == name), "")

    def secret(self, name: str) -> str:
        """The field's value exactly as it was typed."""
        return next((value for found, value in reversed(self._params) if found == name), "")

    def texts(self, name: str) -> list[str]:
        """Every value of the field that is not empty."""
        return [value.strip() for found, value in self._params if found == name and value.strip()]

    def lines(self, name: str) -> tuple[str, ...]:
        """The field's lines that are not empty; commas separate lines too, since addresses are pasted with them."""
        return tuple(line for text in self.texts(name) for part in text.splitlines() if (line := part.strip(" \t,")))

    def words(self, name: str) -> tuple[str, ...]:
        """The field's words, separated by white space and commas."""
        return tuple(word for text in self.texts(name) for word in text.replace(",", " ").split())

    def has(self, name: str) -> bool:
        """Whether a box is checked."""
        return self.text(name) not in ("", "0")

    def __contains__(self, name: str) -> bool:
        return any(found == name for found, _ in self._params)


async def read_form(request: Request) -> Form | None:
    """Return the form that was sent; None when the body is no form, or too large."""
    params = await form_params(request, max_bytes=MAX_FORM, max_params=MAX_FIELDS)
    return None if params is None else Form(params)
