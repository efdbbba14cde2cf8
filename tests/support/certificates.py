"""A certificate authority for tests, which issues server certificates."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=2)
NOW = datetime.timedelta(0)


class Authority:
    """A certificate authority that issues certificates for tests.

    Attributes:
        ca_file: File with the authority's certificate in PEM form, which clients must trust.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        certificate = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca_file.write_bytes(self._signed(certificate))

    def issue(self, domain: str, *, age: datetime.timedelta = NOW, has_wildcard: bool = True) -> tuple[Path, Path]:
        """Write a certificate for `domain`, `*.domain`, `localhost` and 127.0.0.1, which replaces the last one.

        Args:
            age: How long ago the certificate was in the middle of its validity, which is twice `LIFE` long.
            has_wildcard: Whether the certificate is for `*.domain` too.

        Returns:
            The paths of the certificate and of its key, the same at every call.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        wildcard = [x509.DNSName(f"*.{domain}")] if has_wildcard else []
        names = [x509.DNSName(domain), *wildcard, x509.DNSName("localhost")]
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
        certificate = self._builder(subject, key.public_key(), age).add_extension(
            x509.SubjectAlternativeName([*names, here]), critical=False
        )
        cert_file, key_file = self.folder / "cert.pem", self.folder / "key.pem"
        cert_file.write_bytes(self._signed(certificate))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, age: datetime.timedelta = NOW
    ) -> x509.CertificateBuilder:
        then = datetime.datetime.now(datetime.UTC) - age
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(then - LIFE)
            .not_valid_after(then + LIFE)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
