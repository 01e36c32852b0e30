"""/auth/sso: discovery, the exchange, the redirects, and to_session."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .http_message import Answer, Refusal, Request, json_answer, page, redirect, text

if TYPE_CHECKING:
    from .instance import Instance

SDK, SIMPLE = "embedding-sdk-react", "embedding-simple"
HASH_HEADER = "x-metabase-sdk-jwt-hash"
NO_LICENCE = (
    "JWT-based authentication is a paid feature not currently available to your instance. "
    "Please upgrade to use it. Learn more at metabase.com/upgrade/"
)


def sso_get(instance: "Instance", request: Request) -> Answer:
    """GET /auth/sso. Only the query is read."""
    _require_enterprise(instance)
    method = _chosen_method(instance, request)
    if method == "saml":
        return _begin(instance, request, method, "https://saml.example.com/sso")
    _require_jwt(instance)
    if "jwt" in request.query:
        return _exchange(instance, request, request.query["jwt"])
    return _begin(instance, request, method, instance.settings.jwt_identity_provider_uri)


def sso_post(instance: "Instance", request: Request) -> Answer:
    """POST /auth/sso. Only the body is read, apart from return_to."""
    settings = instance.settings
    if not settings.has("post"):
        return page(501 if settings.version >= 50 else 400, "POST not valid for JWT SSO requests")
    try:
        _require_enterprise(instance)
        _require_jwt(instance)
        return _exchange(instance, request, _body_token(request))
    except Refusal as refused:
        if settings.post_errors == "html":
            return page(refused.status, refused.message)
        raise


def sso_to_session(instance: "Instance", request: Request) -> Answer:
    """POST /auth/sso/to_session: wants neither a toggle nor a header of the client."""
    if not instance.settings.has("to_session") or instance.settings.edition != "enterprise":
        return text(404, "Not found.")
    try:
        token = _body_token(request)
    except Refusal as refused:
        return json_answer(400, {"errors": {"jwt": refused.message}, "specific-errors": {"jwt": [refused.message]}})
    if instance.settings.licence == "lost":
        _require_jwt(instance)
    if not instance.settings.jwt_works:
        raise Refusal(400, "JWT authentication is not enabled")
    return json_answer(200, {"session_token": instance.log_in(token).key})


def sso_logout(instance: "Instance", request: Request) -> Answer:
    """POST /auth/sso/logout: ends the session of the cookie, and no other."""
    instance.sessions.close(request.cookies.get("metabase.SESSION", ""))
    return json_answer(200, {"saml-logout-url": None})


def logout_page(instance: "Instance", request: Request) -> Answer:
    """GET /auth/logout: the page whose script ends the session of the cookies. Here it has ended already."""
    for name in ("metabase.SESSION", "metabase.EMBEDDED_SESSION"):
        instance.sessions.close(request.cookies.get(name, ""))
    return page(200, "Metabase")


def _body_token(request: Request) -> str:
    token = request.json.get("jwt")
    if not isinstance(token, str) or not token.strip():
        raise Refusal(400, "value must be a non-blank string.")
    return token


def _require_enterprise(instance: "Instance") -> None:
    if instance.settings.edition == "oss":
        raise Refusal(400, "The auth/sso endpoint only exists in enterprise builds", "ee-build-required")


def _require_jwt(instance: "Instance") -> None:
    if not instance.settings.jwt_works:
        raise Refusal(400, "SSO has not been enabled and/or configured", "error-sso-disabled")
    if instance.settings.licence == "lost":
        raise Refusal(402, NO_LICENCE, "error-premium-feature-not-available")


def _chosen_method(instance: "Instance", request: Request) -> str:
    """With JWT and SAML both on, a token chooses JWT, and the preferred method beats that."""
    if not instance.settings.saml_enabled:
        return "jwt"
    preferred = request.query.get("preferred_method")
    chosen = preferred if preferred in ("jwt", "saml") else "jwt" if "jwt" in request.query else "saml"
    return chosen if instance.settings.jwt_works else "saml"


def _begin(instance: "Instance", request: Request, method: str, uri: str) -> Answer:
    """Where to fetch a token: as JSON for the SDK, as a redirect for a browser."""
    if instance.settings.has("discovery") and _client(request):
        _require_toggle(instance, request)
        return _discovered(instance, method, uri)
    wanted = request.query.get("redirect")
    if wanted is None:
        return redirect(uri)
    # As it came, not encoded.
    return redirect(f"{uri}{'&' if '?' in uri else '?'}return_to={wanted}")


def _discovered(instance: "Instance", method: str, uri: str) -> Answer:
    found = {"url": uri, "method": method}
    if instance.settings.has("discovery_hash"):
        found["hash"] = instance.sessions.hand_out_hash(instance.now())
    return json_answer(200, found)


def _exchange(instance: "Instance", request: Request, token: str) -> Answer:
    """The session is there before the toggles are looked at, and stays when they refuse."""
    settings = instance.settings
    return_to = _checked_return_to(instance, request)
    logged_in = instance.log_in(token)
    as_parameter = settings.has("token_parameter") and request.query.get("token") == "true"
    if as_parameter or (settings.has("discovery") and _client(request)):
        _require_toggle(instance, request, as_parameter=as_parameter)
        session = logged_in.session_object()
        if as_parameter:
            return json_answer(200, session)
        if settings.has("discovery_hash") and not instance.sessions.knows_hash(
            request.headers.get(HASH_HEADER), instance.now()
        ):
            return _discovered(instance, "jwt", settings.jwt_identity_provider_uri)
        return json_answer(200, {"status": "ok"} | session)
    answer = redirect(return_to)
    in_frame = request.headers.get("sec-fetch-dest") == "iframe"
    name = "metabase.EMBEDDED_SESSION" if in_frame else "metabase.SESSION"
    answer.headers["Set-Cookie"] = f"{name}={logged_in.key}; Path=/; HttpOnly; SameSite=Lax"
    if in_frame:
        answer.headers["X-Metabase-Anti-CSRF-Token"] = instance.sessions.hand_out_hash(instance.now())
    return answer


def _client(request: Request) -> str | None:
    client = request.headers.get("x-metabase-client")
    return client if client in (SDK, SIMPLE) else None


def _require_toggle(instance: "Instance", request: Request, *, as_parameter: bool = False) -> None:
    settings = instance.settings
    if not settings.has("embedding_toggles"):
        return
    if (as_parameter or _client(request) == SDK) and not settings.enable_embedding_sdk:
        message = (
            "Embedding SDK for React is disabled. Enable it in the embedding settings."
            if settings.has("discovery")
            else "SDK Embedding is not enabled."
        )
        raise Refusal(402, message, "error-embedding-sdk-disabled")
    if _client(request) == SIMPLE and not settings.enable_embedding_simple:
        message = "You need to turn on modular embedding in the embedding settings."
        raise Refusal(402, message, "error-embedding-simple-disabled")


def _checked_return_to(instance: "Instance", request: Request) -> str:
    """A path, or a URL of the site's own host, whatever its scheme and port."""
    wanted = request.query.get("return_to")
    if not wanted:
        return "%2F" if instance.settings.has("encoded_root") else "/"
    try:
        parts = urlsplit(wanted)
        elsewhere = bool(parts.scheme or wanted.startswith("//")) and parts.hostname != instance.settings.site_host
    except ValueError:
        elsewhere = True
    if elsewhere or "\\" in wanted:
        raise Refusal(400, "Invalid redirect URL", data=True)
    return wanted
