"""The table of the API's error codes, each with its HTTP status, its title, and ngrok's number for the same error."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An error of the API.

    Attributes:
        status: HTTP status of the response.
        title: Short summary, which never varies between responses (RFC 9457 section 3.1.3).
        number: ngrok's number of this error, for programs that know it; None where ngrok has no such error.
    """

    status: int
    title: str
    number: int | None = None

    def error_code(self, code: str) -> str:
        """Return the value of `error_code` in the response, which programs written for ngrok compare.

        Args:
            code: The error's code in `CODES`.
        """
        return f"ERR_NGROK_{self.number}" if self.number is not None else f"ERR_TUNNEL_{code.upper()}"


CODES: dict[str, ErrorCode] = {
    # From authentication, routing and the check of the schema.
    "key_missing": ErrorCode(401, "No API key was sent", 4018),
    "key_unknown": ErrorCode(401, "This API key is not good", 4018),
    "key_of_agent": ErrorCode(401, "This is an agent's token, not an API key", 206),
    "too_many_wrong_keys": ErrorCode(429, "Too many wrong API keys"),
    "cross_site": ErrorCode(403, "Another site's page may not use the API"),
    "body_not_json": ErrorCode(415, "The body must be application/json"),
    "body_malformed": ErrorCode(400, "The body is not the JSON it should be"),
    "body_too_large": ErrorCode(413, "The body is too large"),
    "route_unknown": ErrorCode(404, "There is nothing at this path"),
    "method_not_allowed": ErrorCode(405, "This method is not for this path"),
    "request_invalid": ErrorCode(400, "The request is not as the schema says"),
    "internal_error": ErrorCode(500, "The relay failed"),
    # For features of ngrok that this relay does not have.
    "not_supported": ErrorCode(400, "This relay does not have that"),
    "route_exists": ErrorCode(409, "The edge has its one route already"),
    # From the service layer.
    "invalid": ErrorCode(400, "Something in the request makes no sense"),
    "not_found": ErrorCode(404, "There is no such thing"),
    "scope_missing": ErrorCode(403, "The key lacks a scope"),
    "admin_only": ErrorCode(403, "Only administrators may do this"),
    "sign_in_refused": ErrorCode(403, "This code or key is not good"),
    "changed_meanwhile": ErrorCode(409, "It was changed meanwhile"),
    "domain_taken": ErrorCode(409, "The name is not to be had"),
    "host_taken": ErrorCode(409, "Another edge answers at this host", 381),
    "name_taken": ErrorCode(409, "The name is in use"),
    "in_use": ErrorCode(409, "Something else needs it"),
    "damaged": ErrorCode(409, "What is kept of it cannot be read"),
    "last_admin": ErrorCode(409, "The last administrator stays one"),
    "user_disabled": ErrorCode(409, "The user is disabled"),
    "too_many": ErrorCode(409, "There are as many as there may be"),
    "too_many_tests": ErrorCode(429, "Too many tests of providers"),
    "too_many_changes": ErrorCode(429, "Too many changes"),
    "too_many_followers": ErrorCode(503, "Too many pages are kept up to date"),
    "too_often": ErrorCode(429, "Too many tries"),
    "store_away": ErrorCode(503, "The relay's database does not answer"),
    "provider_away": ErrorCode(503, "The OpenID provider does not answer"),
}
"""All errors by their code, the last part of the response's `type`; docs/reference/api.md lists them."""
