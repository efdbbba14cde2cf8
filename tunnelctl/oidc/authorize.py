"""The address of a provider's login page, with our parameters in it. Pure."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def authorization_url(endpoint: str, ours: Mapping[str, str]) -> str:
    """The provider's login page with our parameters, which win over those its own address may carry already."""
    url = urlsplit(endpoint)
    theirs = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name not in ours]
    return urlunsplit(url._replace(query=urlencode([*theirs, *ours.items()])))
