"""A relay that ends TLS itself, with a certificate for the names below `tun.localhost`, or another domain."""

from pathlib import Path

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.stack import Stack

DOMAIN = "tun.localhost"


class SecureStack(Stack):
    """A relay with TLS.

    Attributes:
        authority: Whom visitors and agents trust.
        https_port: Where it ends TLS.
    """

    def __init__(self, folder: Path, domain: str = DOMAIN) -> None:
        self.authority = Authority(folder / "tls")
        self.https_port = free_port()
        cert_file, key_file = self.authority.issue(domain)
        flags = [f"--https=127.0.0.1:{self.https_port}", f"--tls-cert={cert_file}", f"--tls-key={key_file}"]
        super().__init__(folder / "data", [*flags, f"--domain={domain}"])

    @property
    def agent_flags(self) -> tuple[str, str]:
        """What `tunnel http` needs to reach it over TLS."""
        return f"--relay=https://localhost:{self.https_port}", f"--relay-ca={self.authority.ca_file}"
