"""A relay process that serves TLS itself, with a certificate for names below `tun.localhost` or another domain."""

from collections.abc import Sequence
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.stack import Stack

DOMAIN = "tun.localhost"


class SecureStack(Stack):
    """A `Stack` whose relay serves TLS.

    Args:
        flags: More flags of `tunnelrelay serve`.

    Attributes:
        authority: The certificate authority that visitors and agents must trust.
        https_port: The relay's port for TLS.
    """

    def __init__(self, folder: Path, domain: str = DOMAIN, flags: Sequence[str] = ()) -> None:
        self.authority = Authority(folder / "tls")
        self.https_port = free_port()
        cert_file, key_file = self.authority.issue(domain)
        own = [f"--https=127.0.0.1:{self.https_port}", f"--tls-cert={cert_file}", f"--tls-key={key_file}"]
        super().__init__(folder / "data", [*own, f"--domain={domain}", *flags])

    @property
    def agent_flags(self) -> tuple[str, str]:
        """The flags of `tunnel http` that connect to this relay over TLS."""
        return f"--relay=https://localhost:{self.https_port}", f"--relay-ca={self.authority.ca_file}"
