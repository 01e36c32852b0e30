"""Which major version of Metabase can do what. Some limits are inferred: `Settings.features` overrides each of them."""

FIRST, LAST = 1, 999

# Feature: first and last major version that has it.
FEATURES: dict[str, tuple[int, int]] = {
    # The secret had to be 64 hexadecimal characters.
    "hex_secret_required": (FIRST, 43),
    # "corrupt or manipulated" came with a full stop, in a JSON stack trace.
    "refusals_are_traces": (FIRST, 39),
    # A name that the token does not give was stored as "Unknown".
    "unknown_names": (FIRST, 49),
    # `exp`, `iss`, `groups` and so on became attributes.
    "registered_claims_are_attributes": (FIRST, 50),
    # `token=true` answers with the session as JSON.
    "token_parameter": (50, 54),
    # The embedding toggles are looked at.
    "embedding_toggles": (51, LAST),
    # JWT SSO counted as configured without an identity provider's URI.
    "idp_uri_optional": (53, 54),
    # The open-source build answers /auth/sso with JSON, before with a page.
    "json_on_open_source": (53, LAST),
    # /auth/sso tells the SDK where to fetch a token.
    "discovery": (55, LAST),
    # The exchange wants the hash that discovery handed out.
    "discovery_hash": (55, 57),
    "livez": (55, LAST),
    # A missing return_to became an encoded slash.
    "encoded_root": (FIRST, 56),
    # Attributes of tokens are strings, and apart from those that an administrator set.
    "jwt_attributes": (56, LAST),
    # Without mappings, groups are matched by name.
    "groups_by_name": (56, LAST),
    "to_session": (56, LAST),
    # The provider code that names a missing e-mail, and answers 401 to what it does not expect.
    "auth_identity": (58, LAST),
    "tenants": (58, LAST),
    "tenant_attributes": (59, LAST),
    "agent_api": (59, LAST),
    "post": (61, LAST),
    # The session header beats a stale cookie.
    "header_beats_cookie": (66, LAST),
    # Groups that are no list of strings are made one.
    "groups_coerced": (66, LAST),
}


def has_feature(version: int, feature: str, overrides: dict[str, bool]) -> bool:
    """Whether this major version has the feature, unless overridden."""
    first, last = FEATURES[feature]
    return overrides.get(feature, first <= version <= last)
