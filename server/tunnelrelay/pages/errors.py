"""The table of all errors that the relay shows to visitors; docs/reference/errors.md describes them.

Scripts compare error codes, so a code never changes its meaning. The texts are in `en.toml`, below `errors.` and the
code; they may change at any time.
"""

from dataclasses import dataclass
from typing import Literal

Source = Literal["ingress", "agent", "upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """An error that the relay shows to visitors.

    Attributes:
        code: Name of the error in `Tunnel-Error`, the JSON body, the page and the logs.
        source: Where the error occurred: the relay's public side, the agent (or the link to it), or the local service.
        retry_after: Seconds after which a retry may work; 0 when waiting does not help.
    """

    code: str
    status: int
    source: Source
    retry_after: int = 0

    @property
    def way_on(self) -> Literal["try_again", "home"]:
        """The page's button: open the same address again, or the start page if the same address would fail again."""
        return "home" if self.code in _NOT_THIS_REQUEST else "try_again"


_NOT_THIS_REQUEST = frozenset(
    {
        *("bearer_required", "body_too_large", "chunks_too_small", "connect_refused", "expectation_failed"),
        *("form_refused", "https_required", "method_not_allowed", "not_implemented", "page_not_found"),
        *(
            "job_not_admitted",
            "job_token_invalid",
            "target_too_long",
            "token_expired",
            "token_refused",
            "token_required",
            "version_not_supported",
        ),
    }
)
"""Errors in the request itself: opening the same address again gives the same error."""


def _kind(code: str, status: int, source: Source, retry_after: int = 0) -> tuple[str, ErrorKind]:
    return code, ErrorKind(code=code, status=status, source=source, retry_after=retry_after)


ERRORS: dict[str, ErrorKind] = dict(
    (
        # No tunnel for the host
        _kind("endpoint_not_found", 404, "ingress"),
        _kind("endpoint_offline", 503, "agent", 5),
        _kind("endpoint_busy", 503, "agent", 2),
        _kind("endpoint_closed", 503, "ingress"),
        # The local service
        _kind("upstream_unreachable", 502, "upstream"),
        _kind("upstream_broken", 502, "upstream"),
        _kind("upstream_timeout", 504, "upstream"),
        # The agent
        _kind("agent_bad_response", 502, "agent"),
        _kind("agent_lost", 502, "agent"),
        # The request
        _kind("bad_request", 400, "ingress"),
        _kind("form_refused", 400, "ingress"),
        _kind("target_too_long", 414, "ingress"),
        _kind("head_too_large", 431, "ingress"),
        _kind("request_timeout", 408, "ingress"),
        _kind("not_implemented", 501, "ingress"),
        _kind("version_not_supported", 505, "ingress"),
        _kind("expectation_failed", 417, "ingress"),
        _kind("body_too_large", 413, "ingress"),
        _kind("chunks_too_small", 400, "ingress"),
        _kind("connect_refused", 403, "ingress"),
        _kind("https_required", 403, "ingress"),
        _kind("token_required", 401, "ingress"),
        _kind("token_refused", 401, "ingress"),
        _kind("token_expired", 401, "ingress"),
        _kind("job_token_invalid", 401, "ingress"),
        _kind("job_not_admitted", 403, "ingress"),
        _kind("too_many_agents", 503, "ingress", 5),
        _kind("page_not_found", 404, "ingress"),
        _kind("method_not_allowed", 405, "ingress"),
        _kind("misdirected", 421, "ingress"),
        # Access rules
        _kind("login_required", 401, "ingress"),
        _kind("password_required", 401, "ingress"),
        _kind("bearer_required", 401, "ingress"),
        _kind("bearer_invalid", 401, "ingress"),
        _kind("bearer_not_admitted", 403, "ingress"),
        _kind("network_denied", 403, "ingress"),
        _kind("too_many_requests", 429, "ingress", 30),
        _kind("access_denied", 403, "ingress"),
        _kind("not_admitted", 403, "ingress"),
        # The login
        _kind("login_state_invalid", 400, "ingress"),
        _kind("login_restart", 400, "ingress"),
        _kind("login_unfinished", 403, "ingress"),
        _kind("login_misconfigured", 502, "ingress"),
        _kind("provider_busy", 503, "ingress", 10),
        _kind("provider_error", 502, "ingress"),
        _kind("provider_unreachable", 502, "ingress"),
        _kind("prefetch_refused", 503, "ingress"),
        # The relay itself
        _kind("relay_busy", 503, "ingress", 5),
        _kind("internal_error", 500, "ingress"),
    )
)
"""Every error by its code."""
