"""The exception for invalid HTTP from a peer."""


class HttpError(Exception):
    """A peer sent bytes that are not acceptable HTTP.

    Attributes:
        code: The error code shown to users, such as `bad_request` or `head_too_large`.
        detail: Description of the error for our log; never shown to others without escaping.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
