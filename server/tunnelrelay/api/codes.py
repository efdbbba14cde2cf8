"""Every way the API says no: code, status, and ngrok's number where the two mean the same thing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    Attributes:
        status: HTTP status.
        title: What it means, the same every time (RFC 9457 section 3.1.3).
        number: ngrok's error number, for programs that know it; None where ngrok has no such error.
    """

    status: int
    title: str
    number: int | None = None

    def error_code(self, code: str) -> str:
        """What programs written for ngrok compare."""
        return f"ERR_NGROK_{self.number}" if self.number is not None else f"ERR_TUNNEL_{code.upper()}"


CODES: dict[str, Code] = {
    # Before anything is looked at.
    "key_missing": Code(401, "No API key was sent", 4018),
    "key_unknown": Code(401, "This API key is not good", 4018),
    "key_of_agent": Code(401, "This is an agent's token, not an API key", 206),
    "too_many_wrong_keys": Code(429, "Too many wrong API keys"),
    "cross_site": Code(403, "Another site's page may not use the API"),
    "body_not_json": Code(415, "The body must be application/json"),
    "body_malformed": Code(400, "The body is not the JSON it should be"),
    "body_too_large": Code(413, "The body is too large"),
    "route_unknown": Code(404, "There is nothing at this path"),
    "method_not_allowed": Code(405, "This method is not for this path"),
    "request_invalid": Code(400, "The request is not as the schema says"),
    "internal_error": Code(500, "The relay failed"),
    # What ngrok has and this relay does not.
    "not_supported": Code(400, "This relay does not have that"),
    "route_exists": Code(409, "The edge has its one route already"),
    # From the service layer.
    "invalid": Code(400, "Something in the request makes no sense"),
    "not_found": Code(404, "There is no such thing"),
    "scope_missing": Code(403, "The key lacks a scope"),
    "admin_only": Code(403, "Only administrators may do this"),
    "sign_in_refused": Code(403, "This code or key is not good"),
    "changed_meanwhile": Code(409, "It was changed meanwhile"),
    "domain_taken": Code(409, "The name is not to be had"),
    "host_taken": Code(409, "Another edge answers at this host", 381),
    "name_taken": Code(409, "The name is in use"),
    "in_use": Code(409, "Something else needs it"),
    "damaged": Code(409, "What is kept of it cannot be read"),
    "last_admin": Code(409, "The last administrator stays one"),
    "user_disabled": Code(409, "The user is disabled"),
    "too_many": Code(409, "There are as many as there may be"),
    "too_many_tests": Code(429, "Too many tests of providers"),
    "too_many_changes": Code(429, "Too many changes"),
    "too_many_followers": Code(503, "Too many pages are kept up to date"),
    "too_often": Code(429, "Too many tries"),
    "store_away": Code(503, "The relay's database does not answer"),
    "provider_away": Code(503, "The OpenID provider does not answer"),
}
"""By the code that stands in `type`; docs/reference/api.md lists them."""
