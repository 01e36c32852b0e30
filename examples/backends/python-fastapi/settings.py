"""What the environment says; ../README.md lists every variable."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once at start; a mistake ends the program with the name of the variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    listen: str = "127.0.0.1:8000"
    public_url: str = "http://localhost:8000"
    app_origins: str = "http://localhost:3001"
    cookie_samesite: Literal["Lax", "None"] = "Lax"
    people_file: Path = Path("../people.json")
    metabase_instance: str = ""
    metabase_token_service_address: str = "http://127.0.0.1:50051"
    metabase_token_service_tls_ca: Path | None = None
    metabase_token_service_tls_certificate: Path | None = None
    metabase_token_service_tls_key: Path | None = None

    @model_validator(mode="after")
    def _safe(self) -> "Settings":
        for origin in self.origins:
            url = urlsplit(origin)
            if url.scheme not in ("http", "https") or f"{url.scheme}://{url.netloc}" != origin:
                raise ValueError(f"APP_ORIGINS, PUBLIC_URL: {origin!r} is no origin such as https://app.example.com")
        if self.cookie_samesite == "None" and not self.secure:
            raise ValueError("COOKIE_SAMESITE=None needs an https PUBLIC_URL: browsers drop the cookie otherwise")
        if self.metabase_token_service_address.startswith("https://") != bool(self.metabase_token_service_tls_ca):
            raise ValueError("METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS")
        if bool(self.metabase_token_service_tls_certificate) != bool(self.metabase_token_service_tls_key):
            raise ValueError("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY")
        return self

    @property
    def origins(self) -> list[str]:
        """Whose pages may read answers: the app's, and this backend's own."""
        return [*(origin.strip() for origin in self.app_origins.split(",")), self.public_url]

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def cookie_name(self) -> str:
        # The prefix keeps sibling subdomains from planting a session of their own.
        return "__Host-session" if self.secure else "session"
