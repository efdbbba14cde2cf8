"""Builds token requests with the client's authentication (RFC 6749 section 2.3.1). Makes no network calls."""

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote_plus, urlencode


def authenticated(
    form: Mapping[str, str], *, method: str, client_id: str, client_secret: str
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the extra header fields of a token request.

    Args:
        form: Parameters of the request, without the client's credentials.
        method: `client_secret_basic`, `client_secret_post` or `none`, as in `Metadata.auth_method`.
    """
    if method == "client_secret_basic":
        # Both halves are form-encoded before they are joined; otherwise a `:` or `%` in them would break the pair.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        return urlencode(form).encode("ascii"), {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}
    whole = {**form, "client_id": client_id}
    if method == "client_secret_post":
        whole["client_secret"] = client_secret
    return urlencode(whole).encode("ascii"), {}
