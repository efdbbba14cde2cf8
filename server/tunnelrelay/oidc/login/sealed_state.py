"""The encrypted values that pass through the browser during a login or logout, and their lifetimes.

`Transaction` is in a cookie of the endpoint's host, `State` goes to the provider and back, `Handoff` goes from the
callback host to the endpoint's host. A browser must present all three of one login. `Switch` proves that a form came
from our own page.

Each contains the endpoint's generation, which grows when the name changes owner: a login that began under the former
owner is invalid.
"""

import hmac
from typing import TypeVar

import msgspec

from tunnelctl.oidc.base64url import b64url
from tunnelrelay.address import CallbackKind
from tunnelrelay.keys.keyring import KeyRing

LOGIN_SECONDS = 600
"""Seconds that a visitor may take at the provider. A longer time would only help a thief of the values. Afterwards a
page links back to the app, as long as the key ring keeps the key."""
HANDOFF_SECONDS = 60
"""Seconds for which a hand-off is valid: it is a single redirect, and a minute is enough for slow devices."""
MAX_BLOB = 8 * 1024
"""Maximum characters of a sealed value. A code may have 2 kB and grows by a third when sealed; the ingress accepts no
longer targets anyway."""
MAX_CODE = 4 * 1024
MAX_RETURN = 2 * 1024
"""Maximum bytes of the return path in `state`. Sealed it takes 2.8 kB: the URL of a provider's login page then has less
than 4 kB, and web servers accept 8."""
CALLBACK_AUDIENCE = "callback"
"""Audience of `State`: the callback host has several names, and the state contains the endpoint's host."""


class State(msgspec.Struct, frozen=True, kw_only=True, tag="state"):
    """The OAuth `state`: identifies the login of a provider's response, and the host to forward it to.

    Attributes:
        tx: Id of the login, 128 bits as hex.
        binding: SHA-256 of the browser's secret in the cookie.
        issuer: The provider's issuer, exactly as in its metadata.
        needs_iss: The provider promised to name itself in its response (RFC 9207 section 3).
        callback: The callback that was sent; the response must arrive there.
        return_path: Path and query that the visitor requested. Not in the cookie, as browsers and sibling hosts may
            delete cookies.
    """

    tx: str
    binding: bytes
    connection_id: str
    epoch: str
    host: str
    issuer: str
    needs_iss: bool
    expires_at: float
    callback: CallbackKind = "shared"
    generation: int = 0
    return_path: str = "/"

    def __repr__(self) -> str:
        """Leave out the return path, as URLs of apps may contain tokens."""
        return f"State(tx={self.tx!r}, host={self.host!r})"


class Transaction(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="tx3"):
    """An unfinished login, stored in the browser's cookie. It is small, as each tab may have one.

    Attributes:
        browser_secret: 256 random bits; `State` and `Handoff` contain only their digest.
        redirect_uri: The redirect URI that was sent. The code must be exchanged with the same one, even if the owner
            has changed it since.
        is_repeat: The provider was asked to make the visitor sign in again, as its first response was too old.
    """

    tx: str
    browser_secret: bytes
    redirect_uri: str
    connection_id: str
    epoch: str
    host: str
    started_at: float
    expires_at: float
    generation: int = 0
    is_repeat: bool = False

    @property
    def verifier(self) -> str:
        """The PKCE code verifier (RFC 7636 section 4.1): 256 bits, derived one-way from the secret."""
        return b64url(hmac.digest(self.browser_secret, b"verifier", "sha256"))

    @property
    def nonce(self) -> str:
        """The nonce that the ID token of this login must contain. Derived from the secret, as `verifier` is."""
        return b64url(hmac.digest(self.browser_secret, b"nonce", "sha256"))

    def __repr__(self) -> str:
        """Leave out the secrets."""
        return f"Transaction(tx={self.tx!r}, host={self.host!r})"


class Handoff(msgspec.Struct, frozen=True, kw_only=True, tag="handoff"):
    """The provider's response on its way to the endpoint's host: either a code or an error."""

    tx: str
    binding: bytes
    connection_id: str
    epoch: str
    host: str
    expires_at: float
    generation: int = 0
    code: str = ""
    error: str = ""
    description: str = ""
    return_path: str = "/"

    def __repr__(self) -> str:
        """Leave out the code."""
        return f"Handoff(tx={self.tx!r}, host={self.host!r}, error={self.error!r})"


class Switch(msgspec.Struct, frozen=True, kw_only=True, tag="switch"):
    """The hidden field of "use another account"; valid only in the browser that has the cookie of this login."""

    tx: str
    binding: bytes
    expires_at: float
    return_path: str = "/"

    def __repr__(self) -> str:
        """Leave out the return path."""
        return f"Switch(tx={self.tx!r})"


class LogoutState(msgspec.Struct, frozen=True, kw_only=True, tag="leaving"):
    """The `state` of a logout at the provider, which also proves to the endpoint that the visitor came back from it."""

    host: str
    connection_id: str
    expires_at: float


ANY_AGE = float("-inf")
"""Value of `now` for `open_blob` that opens expired values too. For use only to find where to redirect, never as a
proof."""
_Blob = TypeVar("_Blob", State, Transaction, Handoff, Switch, LogoutState)


def open_blob(ring: KeyRing, kind: type[_Blob], audience: str, blob: str, now: float) -> _Blob | None:
    """Decrypt a sealed value.

    Return None when this relay did not seal it, it has another audience, or it has expired.
    """
    plain = ring.open(_PURPOSES[kind], audience, blob, MAX_BLOB)
    if plain is None:
        return None
    try:
        opened = msgspec.msgpack.decode(plain, type=kind)
    except msgspec.DecodeError:
        # Sealed by another release; treat it as unknown.
        return None
    return opened if now < opened.expires_at else None


def seal_blob(ring: KeyRing, audience: str, content: State | Transaction | Handoff | Switch | LogoutState) -> str:
    """Encrypt a value, which `open_blob` decrypts for the same audience."""
    return ring.seal(_PURPOSES[type(content)], audience, content)


_PURPOSES: dict[type, str] = {
    State: "state",
    Transaction: "tx-cookie",
    Handoff: "handoff",
    Switch: "switch",
    LogoutState: "logout",
}
