"""The HTTP side: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call."""

import json
import secrets
from typing import Annotated
from urllib.parse import parse_qs, unquote_plus, urlsplit

import uvicorn
from fastapi import Body, Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, RedirectResponse

from metabase.token.v1 import token_service_pb2 as pb
from settings import Settings
from token_service import Failure, TokenService, connect


def sso_query(query: str) -> tuple[bool, str]:
    """Whether the SDK asks (`response=json`), and where Metabase wants the person back.

    Metabase appends `return_to` at the end, unencoded: then everything behind it belongs to it, `?` and `&` too.
    """
    before, found, rest = f"&{query}".partition("&return_to=")
    if found and "?" in rest:
        return "json" in parse_qs(before).get("response", []), rest
    return "json" in parse_qs(query).get("response", []), unquote_plus(rest.split("&")[0]) or "/"


def create_app(settings: Settings, token_service: TokenService | None = None) -> FastAPI:
    """`token_service`: another one than the settings name, for tests."""
    app = FastAPI(openapi_url=None)
    people = json.loads(settings.people_file.read_text())  # Yours: the user database.
    sessions: dict[str, str] = {}  # Yours: the session store. This one ends with the process.
    cookie = {"secure": settings.secure, "httponly": True, "samesite": settings.cookie_samesite.lower()}

    async def service() -> TokenService:
        nonlocal token_service
        token_service = token_service or connect(settings)  # Within the event loop, as gRPC wants it.
        return token_service

    def signed_in(request: Request) -> dict:
        """Who is asking: the session says so, and nothing else in the request."""
        name = sessions.get(request.cookies.get(settings.cookie_name, ""))
        if name is None:
            raise Failure(401, "NOT_SIGNED_IN", "Sign in first.")
        return people[name]

    Person = Annotated[dict, Depends(signed_in)]
    Service = Annotated[TokenService, Depends(service)]

    @app.exception_handler(Failure)
    async def answer_failure(_: Request, failure: Failure) -> JSONResponse:
        headers = {"Retry-After": "1"} if failure.status in (429, 503) else {}
        body = {"status": "error", "code": failure.code, "message": failure.message}
        return JSONResponse(body, failure.status, headers)

    @app.post("/login", status_code=204)
    async def login(user: Annotated[str, Body(embed=True)], request: Request, response: Response) -> None:
        # Yours: prove who it is. The demo believes a name.
        if user not in people:
            raise Failure(401, "UNKNOWN_USER", "There is no such person.")
        sessions.pop(request.cookies.get(settings.cookie_name, ""), None)
        session = secrets.token_urlsafe(32)
        sessions[session] = user
        response.set_cookie(settings.cookie_name, session, max_age=8 * 3600, **cookie)

    @app.post("/logout", status_code=204)
    async def logout(request: Request, response: Response) -> None:
        sessions.pop(request.cookies.get(settings.cookie_name, ""), None)
        response.delete_cookie(settings.cookie_name, **cookie)

    @app.get("/sso/metabase")
    async def sso(request: Request, person: Person, service: Service) -> Response:
        wants_json, return_to = sso_query(request.url.query)
        if wants_json:
            return JSONResponse({"jwt": (await service.issue(person)).jwt})
        return RedirectResponse((await service.issue(person, return_to)).sso_url, 302)

    @app.get("/sso/metabase/status")
    async def status(person: Person, service: Service) -> dict[str, str]:
        judged = await service.check((await service.issue(person)).jwt)
        word = pb.AuthStatus.Name(judged.status).removeprefix("AUTH_STATUS_").lower()
        reason = pb.AuthStatusReason.Name(judged.reason).removeprefix("AUTH_STATUS_REASON_")
        return {"status": word, "reason": reason, "message": judged.message}

    cors = {"allow_origins": settings.origins, "allow_credentials": True, "allow_methods": ["GET", "POST"]}
    app.add_middleware(CORSMiddleware, **cors, allow_headers=["*"])  # Answers with the headers that were asked for.

    @app.middleware("http")
    async def guard(request: Request, call_next) -> Response:
        origin = request.headers.get("origin")
        # CORS only hides answers; this keeps other sites from signing people in and out.
        if origin is not None and origin not in settings.origins:
            response: Response = await answer_failure(request, Failure(403, "FOREIGN_ORIGIN", "Not from this site."))
        else:
            response = await call_next(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers.setdefault("Vary", "Origin")
        return response

    return app


if __name__ == "__main__":
    settings = Settings()
    listen = urlsplit(f"//{settings.listen}")
    uvicorn.run(create_app(settings), host=listen.hostname, port=listen.port, access_log=False, timeout_graceful_shutdown=10)
