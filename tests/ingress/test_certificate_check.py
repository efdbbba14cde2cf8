"""What is wrong with a certificate or its key is told in words, and what to do."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tunnelrelay.ingress.certificate_check import CertificateError, check_files, misgivings
from tunnelrelay.ingress.listen import Certificate

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


def signed(key, *names, start=NOW - DAY, end=NOW + 30 * DAY):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "it")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
    return builder.sign(key, hashes.SHA256())


def private(key, password=b"", encoding=PEM):
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, hidden)


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CERT, OTHER_CERT = signed(KEY, "*.tun.example", "tun.example"), signed(OTHER, "ca.example")
PEM_CERT, PEM_OTHER = CERT.public_bytes(PEM), OTHER_CERT.public_bytes(PEM)

WRONG = {
    "another key": (PEM_CERT, private(OTHER), "is not the key of", "the key that the certificate was made with"),
    "encrypted": (PEM_CERT, private(KEY, b"word"), "is encrypted with a password", "openssl pkey"),
    "exchanged": (private(KEY), PEM_CERT, "holds the private key", "exchange --tls-cert and --tls-key"),
    "certificate twice": (PEM_CERT, PEM_CERT, "holds no private key", "-----BEGIN PRIVATE KEY-----"),
    "der": (CERT.public_bytes(DER), private(KEY), "--tls-cert", "openssl x509 -inform der"),
    "der key": (PEM_CERT, private(KEY, encoding=DER), "--tls-key", "openssl pkey -inform der"),
    "empty": (b"", private(KEY), "not in PEM form", "openssl x509"),
    "empty key": (PEM_CERT, b"", "not in PEM form", "openssl pkey"),
    "cut off": (PEM_CERT[:200], private(KEY), "holds no certificate that can be read", "-----BEGIN CERTIFICATE-----"),
    "damaged key": (PEM_CERT, private(KEY)[:60] + b"\n-----END PRIVATE KEY-----\n", "holds no private key", "BEGIN"),
    "wrong order": (PEM_OTHER + PEM_CERT, private(KEY), "does not begin with the certificate", "first"),
}


@pytest.fixture
def files(tmp_path):
    def write(cert, key):
        (tmp_path / "cert.pem").write_bytes(cert)
        (tmp_path / "key.pem").write_bytes(key)
        return tmp_path / "cert.pem", tmp_path / "key.pem"

    return write


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_served_is_refused_by_its_cause(case, files):
    cert, key, said, hint = WRONG[case]
    with pytest.raises(CertificateError, match=said) as caught:
        check_files(*files(cert, key))
    assert hint in caught.value.hint
    with pytest.raises(CertificateError):
        Certificate(*files(cert, key))


def test_a_file_that_is_gone_is_told_with_its_flag(files, tmp_path):
    cert, _ = files(PEM_CERT, private(KEY))
    with pytest.raises(CertificateError, match=r"--tls-key .*no such file"):
        check_files(cert, tmp_path / "none.pem")


def test_what_openssl_alone_refuses_is_told_in_words(files):
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(CertificateError, match=r"OpenSSL refuses --tls-cert .*: ee key too small") as caught:
        Certificate(*files(signed(weak, "a").public_bytes(PEM), private(weak)))
    assert "2048" in caught.value.hint


@pytest.mark.parametrize("data", [private(KEY) + PEM_CERT, PEM_CERT + private(KEY)])
def test_both_in_one_file_are_taken(data, files):
    assert check_files(*files(data, data)) == [CERT]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("*.tun.example", "tun.example"), ""),
        (("*.TUN.example", "*.example"), ""),
        (("tun.example",), "*.tun.example"),
        (("*.tun.example",), "tun.example"),
        (("*.example",), "*.tun.example"),
        (("*.other.example",), "*.tun.example and tun.example"),
        ((), "*.tun.example and tun.example"),
    ],
)
def test_hosts_that_it_is_not_for_are_named(names, missing):
    found = misgivings([signed(KEY, *names)], "tun.example", NOW)
    assert [what.partition("not for ")[2].partition(":")[0] for what, _ in found] == ([missing] if missing else [])


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (NOW - DAY, NOW + 30 * DAY, ""),
        (NOW - DAY, NOW, "expired on 2026-06-01"),
        (NOW - DAY, NOW + DAY, "expires on 2026-06-02"),
        (NOW + DAY, NOW + 30 * DAY, "valid from 2026-06-02"),
    ],
)
def test_a_time_that_is_over_or_near_is_told(start, end, said):
    found = misgivings([signed(KEY, "*.a", "a", start=start, end=end)], "a", NOW)
    assert len(found) == bool(said)
    assert all(said in what and hint for what, hint in found)


def test_a_domain_that_is_not_known_is_not_compared():
    assert misgivings([CERT], "", NOW) == []
