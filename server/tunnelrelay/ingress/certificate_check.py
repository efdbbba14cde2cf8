"""Checks the TLS certificate and its key, with clearer messages for the operator than OpenSSL's.

`check_files` refuses files that cannot be used at all; `misgivings` lists reasons for which browsers will refuse the
certificate.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

MAX_FILE = 1 << 20
"""Bytes of a PEM file that are read; a chain with its key has a few thousand."""
SOON = datetime.timedelta(days=7)
"""A warning is shown when a certificate expires within this time. Tools usually renew certificates weeks before."""


class CertificateError(Exception):
    """Raised when certificate and key cannot be used.

    Attributes:
        hint: What the operator can do about the error.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def check_files(cert: Path, key: Path) -> list[x509.Certificate]:
    """Read and check the certificate's and the key's file. Returns the chain, the server's own certificate first.

    Raises:
        CertificateError: A file cannot be read or has another content, or the key is not that of the certificate.
    """
    cert_data, key_data = _read("--tls-cert", cert), _read("--tls-key", key)
    if b"PRIVATE KEY-----" not in key_data and b"PRIVATE KEY-----" in cert_data:
        raise CertificateError(f"--tls-cert {cert} holds the private key", "exchange --tls-cert and --tls-key")
    chain = _chain(cert, cert_data)
    private = _private_key(key, key_data)
    own = _spelled(private.public_key())
    publics = [_spelled(one.public_key()) for one in chain]
    if own not in publics:
        raise CertificateError(
            f"--tls-key {key} is not the key of --tls-cert {cert}",
            "give the key that the certificate was made with; a renewed certificate mostly has a new one",
        )
    if own != publics[0]:
        raise CertificateError(
            f"--tls-cert {cert} does not begin with the certificate of --tls-key {key}",
            "put the server's own certificate first, then those that signed it",
        )
    return chain


def misgivings(chain: Sequence[x509.Certificate], domain: str, now: datetime.datetime) -> list[tuple[str, str]]:
    """Return reasons for which browsers refuse the certificate, or soon will, each with a hint.

    Args:
        domain: The relay's domain, whose subdomains are the tunnels' hosts; "" when it is not known.
    """
    own = chain[0]
    found = []
    names = _names(own)
    missing = [name for name in (f"*.{domain}", domain) if domain and not _covers(names, name)]
    if missing:
        names_text = ", ".join(names[:5]) or "no host"
        what = (
            f"the certificate is for {names_text}, and not for {' and '.join(missing)}: browsers refuse such addresses"
        )
        found.append((what, f"get one for {domain} and *.{domain}"))
    if now >= own.not_valid_after_utc:
        what = f"the certificate expired on {own.not_valid_after_utc:%Y-%m-%d}: browsers refuse every address"
        found.append((what, "renew it; the relay reads the new files by itself"))
    elif now >= own.not_valid_after_utc - SOON:
        what = f"the certificate expires on {own.not_valid_after_utc:%Y-%m-%d}"
        found.append((what, "look after what should have renewed it"))
    if now < own.not_valid_before_utc:
        what = f"the certificate is valid from {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only"
        found.append((what, "is this machine's clock right?"))
    return found


def _read(flag: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise CertificateError(f"{flag} {path} cannot be read: {why}", "let the relay's user read it") from error


def _chain(path: Path, data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" not in data:
        hint = f"if it is in DER: `openssl x509 -inform der -in {path} -out chain.pem`"
        raise CertificateError(f"--tls-cert {path} is not in PEM form", hint)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        hint = "it begins with -----BEGIN CERTIFICATE-----; get the file anew from who made it"
        raise CertificateError(f"--tls-cert {path} holds no certificate that can be read", hint) from error


def _private_key(path: Path, data: bytes) -> PrivateKeyTypes:
    if b"-----BEGIN" not in data:
        hint = f"if it is in DER: `openssl pkey -inform der -in {path} -out key.pem`"
        raise CertificateError(f"--tls-key {path} is not in PEM form", hint)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError as error:
        hint = f"take its password away: `openssl pkey -in {path} -out key.pem`, readable by the relay's user alone"
        raise CertificateError(f"--tls-key {path} is encrypted with a password", hint) from error
    except ValueError as error:
        hint = "it begins with -----BEGIN PRIVATE KEY-----, or the like of it"
        raise CertificateError(f"--tls-key {path} holds no private key that can be read", hint) from error


def _spelled(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the hosts in a certificate's subjectAltName. Browsers have ignored the common name since 2017."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]


def _covers(names: Sequence[str], name: str) -> bool:
    """Whether a certificate for these names covers a host. A wildcard stands for one label (RFC 6125 section 6.4.3)."""
    return name in names or (not name.startswith("*.") and f"*.{name.partition('.')[2]}" in names)
