"""ngrok's error numbers, which programs that control ngrok look for in its log and its local API."""

NGROK_CODES = {
    "name_invalid": 326,
    "name_taken": 334,
    "not_allowed": 308,
    "superseded": 334,
    "token_expired": 107,
    "token_refused": 107,
    "token_required": 4018,
    "token_revoked": 300,
    "too_many": 324,
    "too_many_agents": 108,
}
"""ngrok's error number with the same meaning, by the relay's name of the error."""


def with_ngrok_code(message: str, error: str) -> str:
    """Append ngrok's number to an error message, in ngrok's form; return the message unchanged when there is no number.

    Args:
        error: The relay's name of the error.
    """
    code = NGROK_CODES.get(error)
    return message if code is None else f"{message}\r\n\r\nERR_NGROK_{code}\r\n"
