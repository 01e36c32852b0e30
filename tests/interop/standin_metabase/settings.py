"""What an administrator of Metabase sets, and which Metabase it is."""

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from .eras import FEATURES, has_feature

CHOICES = {
    "edition": ("enterprise", "oss"),
    "licence": ("valid", "missing", "lost"),
    "error_bodies": ("traces", "plain", "hidden"),
    "post_errors": ("html", "plain"),
}


@dataclass
class Settings:
    """JWT single sign-on is on and provisions people, unless changed."""

    version: int = 61
    """Major version: 54, 57, 58, 61."""

    edition: str = "enterprise"
    """`enterprise` or `oss`."""

    licence: str = "valid"
    """`missing`: the JWT settings read as off; `lost`: they read as on, and what they are for is refused."""

    site_name: str = "Metabase"
    site_url: str = "https://metabase.example.com"
    jwt_enabled: bool = True
    jwt_shared_secret: str = field(default="", repr=False)
    embedding_secret_key: str = field(default="", repr=False)
    """Of guest embedding; another secret than the one above."""

    jwt_identity_provider_uri: str = "https://app.example.com/sso"
    jwt_user_provisioning: bool = True
    jwt_attribute_email: str = "email"
    jwt_attribute_firstname: str = "first_name"
    jwt_attribute_lastname: str = "last_name"
    jwt_attribute_groups: str = "groups"
    jwt_attribute_tenant: str = "@tenant"
    jwt_attribute_tenant_attributes: str = "@tenant.attributes"
    jwt_group_sync: bool = False
    jwt_group_mappings: dict[str, list[int]] = field(default_factory=dict)
    """Group of the token to IDs of Metabase groups."""

    saml_enabled: bool = False
    use_tenants: bool = False
    enable_embedding_sdk: bool = True
    enable_embedding_simple: bool = True
    embedding_app_origins_sdk: str = ""
    """Origins, separated by spaces."""

    max_session_age_minutes: int = 20160
    error_bodies: str = "traces"
    """Bodies of errors that carry data: `traces`, `plain` (message and status), or `hidden`."""

    post_errors: str = "html"
    """Bodies of errors of POST /auth/sso: an `html` page, or `plain` as of GET."""

    clock_offset_seconds: int = 0
    """How far Metabase's clock, and its `Date`, is ahead of this machine's."""

    features: dict[str, bool] = field(default_factory=dict)
    """Overrides of what the version has; see `eras`."""

    def has(self, feature: str) -> bool:
        """Whether this Metabase has the feature."""
        return has_feature(self.version, feature, self.features)

    @property
    def jwt_configured(self) -> bool:
        """Whether the secret is set, and the identity provider's URI where the version wants one."""
        return bool(self.jwt_shared_secret) and (bool(self.jwt_identity_provider_uri) or self.has("idp_uri_optional"))

    @property
    def jwt_works(self) -> bool:
        """Whether the settings read as enabled and configured."""
        return self.jwt_enabled and self.jwt_configured and self.licence != "missing" and self.edition == "enterprise"

    @property
    def tenants_work(self) -> bool:
        return self.use_tenants and self.has("tenants")

    @property
    def site_host(self) -> str | None:
        return urlsplit(self.site_url).hostname

    @property
    def tag(self) -> str:
        """The version as Metabase spells it."""
        return f"v{int(self.edition == 'enterprise')}.{self.version}.1"

    def change(self, changes: dict[str, Any]) -> None:
        """All of the changes, or none: `ValueError` names the one that cannot be."""
        before = {known.name: getattr(self, known.name) for known in fields(self)}
        for name, value in changes.items():
            if name not in before:
                raise ValueError(f"there is no setting {name!r}")
            if type(value) is not type(before[name]):
                raise ValueError(f"{name} must be a {type(before[name]).__name__}")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}")
        if unknown := changes.get("features", {}).keys() - FEATURES.keys():
            raise ValueError(f"there is no feature {sorted(unknown)}")
        for name, value in changes.items():
            setattr(self, name, value)
        if self._secret_is_refused():
            for name, value in before.items():
                setattr(self, name, value)
            raise ValueError("JWT secret must be 64 hexadecimal characters in this version")

    def _secret_is_refused(self) -> bool:
        secret = self.jwt_shared_secret
        return bool(secret) and self.has("hex_secret_required") and not re.fullmatch("[0-9a-fA-F]{64}", secret)

    def shown(self) -> dict[str, Any]:
        """Everything but the secrets."""
        secrets = {name: getattr(self, name) for name in ("jwt_shared_secret", "embedding_secret_key")}
        return asdict(self) | {name: "set" if secret else "" for name, secret in secrets.items()}
