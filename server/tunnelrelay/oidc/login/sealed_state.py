"""The sealed values that travel through the browser during a login or logout, and their lifetimes.

`Transaction` is in a cookie of the endpoint's host, `State` goes to the provider and back, `Handoff` goes from the
callback host to the endpoint's host. A browser must present all three of the same login. `Switch` proves that a form
came from our own page.

Each names the endpoint's generation, which grows when the name changes owner: a login that began under the former owner
is void.
"""

import hmac
from typing import TypeVar

import msgspec

from tunnelctl.oidc.base64url import b64url
from tunnelrelay.address import CallbackKind
from tunnelrelay.keys.keyring import KeyRing

LOGIN_SECONDS = 600
"""How long a visitor may take at the provider. Longer only helps a thief of a blob; after it, a page leads back to
the address for as long as the key ring keeps the key."""
HANDOFF_SECONDS = 60
"""The hand-off is one redirect; a minute forgives a slow phone and little else."""
MAX_BLOB = 8 * 1024
"""Characters. A code may be 2 kB and grows by a third when sealed; the ingress takes no longer target anyway."""
MAX_CODE = 4 * 1024
MAX_RETURN = 2 * 1024
"""Bytes of return path carried in `state`. Sealed that is 2.8 kB: the address of a provider's login page has
less than 4 kB then, and web servers take 8."""
CALLBACK_AUDIENCE = "callback"
"""Audience of `State`: the callback host has many names, and the state's own `host` says where it leads."""


class State(msgspec.Struct, frozen=True, kw_only=True, tag="state"):
    """The OAuth `state`: the login that a provider's answer belongs to, and where it is passed on.

    Attributes:
        tx: Id of the login, 128 bits as hex.
        binding: SHA-256 of the browser secret in the cookie.
        issuer: The provider's issuer, exactly as its metadata has it.
        needs_iss: The provider promised to name itself in its answer (RFC 9207 section 3).
        callback: The callback that was sent; the answer must arrive there.
        return_path: Path and query that the visitor asked for. Not in the cookie, as browsers and sibling hosts may
            delete
            cookies.
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
        """Leave out the return path, as apps put tokens into addresses."""
        return f"State(tx={self.tx!r}, host={self.host!r})"


class Transaction(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="tx3"):
    """A login under way, in the browser's cookie. It is small, as there is one for each tab.

    Attributes:
        browser_secret: 256 bits; `State` and `Handoff` carry only its digest.
        redirect_uri: As it was sent. The code must be exchanged with the same one, also when the owner has changed it
            since.
        is_repeat: The provider was asked to make the visitor sign in anew, as its first answer was too old.
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
        """PKCE code verifier (RFC 7636 section 4.1): 256 bits derived one-way from the secret."""
        return b64url(hmac.digest(self.browser_secret, b"verifier", "sha256"))

    @property
    def nonce(self) -> str:
        """The nonce that the ID token of this login must carry. Derived from the secret, as `verifier` is."""
        return b64url(hmac.digest(self.browser_secret, b"nonce", "sha256"))

    def __repr__(self) -> str:
        """Leave out the secrets."""
        return f"Transaction(tx={self.tx!r}, host={self.host!r})"


class Handoff(msgspec.Struct, frozen=True, kw_only=True, tag="handoff"):
    """The provider's answer on its way to the endpoint's host: a code or an error, never both."""

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
    """The hidden field of "use another account"; valid in the browser that has the cookie of this login."""

    tx: str
    binding: bytes
    expires_at: float
    return_path: str = "/"

    def __repr__(self) -> str:
        """Leave out the return path."""
        return f"Switch(tx={self.tx!r})"


class LogoutState(msgspec.Struct, frozen=True, kw_only=True, tag="leaving"):
    """The `state` of a logout at the provider; also the proof of the callback host that it came back."""

    host: str
    connection_id: str
    expires_at: float


ANY_AGE = float("-inf")
"""As `now` of `open_blob`: what has expired is opened too. Only for where it leads, never for what it proves."""
_Blob = TypeVar("_Blob", State, Transaction, Handoff, Switch, LogoutState)


def open_blob(ring: KeyRing, kind: type[_Blob], audience: str, blob: str, now: float) -> _Blob | None:
    """The sealed value, or None when this relay did not seal it, it is for another audience, or it has expired."""
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
    """Seal a value. `open_blob` opens it for the same audience."""
    return ring.seal(_PURPOSES[type(content)], audience, content)


_PURPOSES: dict[type, str] = {
    State: "state",
    Transaction: "tx-cookie",
    Handoff: "handoff",
    Switch: "switch",
    LogoutState: "logout",
}
