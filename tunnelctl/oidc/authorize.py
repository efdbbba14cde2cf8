"""Builds the URL of a provider's login page. Makes no network calls."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def authorization_url(endpoint: str, params: Mapping[str, str]) -> str:
    """Return the URL of the login page with our parameters, which replace equal ones that the endpoint's URL already
    has.
    """
    url = urlsplit(endpoint)
    own_params = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name not in params]
    return urlunsplit(url._replace(query=urlencode([*own_params, *params.items()])))
