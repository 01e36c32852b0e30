"""Certificates of a run: a CA, the server, and callers."""

from pathlib import Path

from authority import Authority  # Of tests/interop.
from cryptography import x509


def spiffe_id(caller: int) -> str:
    return f"spiffe://example.org/ns/shop/sa/c{caller}"


class Certificates:
    def __init__(self, folder: Path, callers: range = range(1)) -> None:
        """Of the first file on, clients are these callers in turn."""
        self.authority = Authority(folder)
        self.server, self.server_key = self.authority.issue("server", [x509.DNSName("localhost")])
        self.count = len(callers)
        self.folder = folder
        for index, caller in enumerate(callers):
            self.authority.issue(str(index), [x509.UniformResourceIdentifier(spiffe_id(caller))])

    @property
    def ca(self) -> Path:
        return self.authority.certificate

    @property
    def of_client(self) -> tuple[Path, Path, Path]:
        return self.ca, self.folder / "0.pem", self.folder / "0.key"
