"""Encodes and decodes base64url, accepting only the canonical form."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def b64url(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes | None:
    """Decode canonical base64url without padding; return None for any other text.

    Canonical means that encoding the bytes again gives the same text. Lenient decoders skip unknown characters and
    unused bits, which would allow several spellings of one token.
    """
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if b64url(data) == text else None
