"""Client authentication at the token endpoint (RFC 6749 section 2.3.1). Pure."""

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote_plus, urlencode


def authenticated(
    form: Mapping[str, str], *, method: str, client_id: str, client_secret: str
) -> tuple[bytes, dict[str, str]]:
    """Body and extra header fields of a token request.

    Args:
        form: What is asked for.
        method: `client_secret_basic`, `client_secret_post` or `none`, as `Metadata.auth_method` has it.
    """
    if method == "client_secret_basic":
        # Both halves are form-encoded before they are joined, else a `:` or `%` in them breaks the pair.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        return urlencode(form).encode("ascii"), {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}
    whole = {**form, "client_id": client_id}
    if method == "client_secret_post":
        whole["client_secret"] = client_secret
    return urlencode(whole).encode("ascii"), {}
