"""What a peer did wrong in HTTP, as one exception."""


class HttpError(Exception):
    """The peer's bytes are not acceptable HTTP.

    Attributes:
        code: The project's error code, such as `bad_request` or `head_too_large`.
        detail: What exactly, for our log; never shown unescaped.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
