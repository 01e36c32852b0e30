"""One Metabase: its state, and the answer to every request."""

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from . import api, dashboards, sso
from .directory import Directory
from .faults import Faults
from .http_message import Answer, Refusal, Request, json_answer, page
from .login import LoggedIn, log_in
from .request_log import RequestLog
from .sessions import Sessions
from .settings import Settings

ROUTES: dict[tuple[str, str], Callable[["Instance", Request], Answer]] = {
    ("GET", "/auth/sso"): sso.sso_get,
    ("POST", "/auth/sso"): sso.sso_post,
    ("POST", "/auth/sso/to_session"): sso.sso_to_session,
    ("POST", "/auth/sso/logout"): sso.sso_logout,
    ("GET", "/auth/logout"): sso.logout_page,
    ("GET", "/api/health"): api.health,
    ("GET", "/readyz"): api.health,
    ("GET", "/livez"): api.health,
    ("GET", "/api/user/current"): api.current_user,
    ("DELETE", "/api/session"): api.delete_session,
    ("GET", "/api/session/properties"): api.properties,
    ("GET", "/api/setting"): api.all_settings,
    ("GET", "/api/agent/v1/ping"): api.agent_ping,
    **{("GET", path): dashboards.around for path in dashboards.AROUND},
}


class Instance:
    """`lock` guards all of the state."""

    def __init__(self, settings: Settings) -> None:
        self.lock = threading.RLock()
        self.settings = settings
        self.directory = Directory()
        self.sessions = Sessions()
        self.faults = Faults()
        self.log = RequestLog()

    def now(self) -> int:
        """Unix seconds of this Metabase's clock."""
        return int(time.time()) + self.settings.clock_offset_seconds

    def log_in(self, token: str) -> LoggedIn:
        return log_in(token, self.settings, self.directory, self.sessions, self.now())

    def answer(self, request: Request) -> Answer:
        """Judges, and changes what Metabase changes; what a fault asks for is left to whoever sends the answer."""
        with self.lock:
            fault = self.faults.take(request)
            answer = fault.instead(request) if fault and not fault.after else None
            answer = answer or self._handle(request)
            if fault:
                answer = fault.alter(request, answer, self.now())
            self.log.add(request, answer, fault.kind if fault else None, self.now())
            return answer

    def _handle(self, request: Request) -> Answer:
        try:
            answer = self._routed(request)
        except Refusal as refused:
            if refused.code == "ee-build-required":
                answer = self._open_source(refused)
            else:
                answer = refused.answer(self.settings.error_bodies)
        answer.headers.setdefault("X-Metabase-Version", self.settings.tag)
        answer.headers |= self._cors(request)
        return answer

    def _routed(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return Answer(200)
        if request.path in ("/livez", "/readyz") and not self.settings.has("livez"):
            return page(200, "Metabase")
        if route := ROUTES.get((request.method, request.path)):
            return route(self, request)
        if request.method == "GET" and request.path.startswith(api.EMBED_PATH):
            return api.embedded_dashboard(self, request)
        if request.method == "GET" and (found := dashboards.PATH.fullmatch(request.path)):
            return dashboards.dashboard(self, request, int(found[1]), metadata=bool(found[2]))
        if request.path.startswith("/api/"):
            return api.no_such_endpoint(self, request)
        # The front end, which every other path leads to.
        return page(200, "Metabase") if request.method == "GET" else page(404, "Not found.")

    def _open_source(self, refused: Refusal) -> Answer:
        if self.settings.has("json_on_open_source"):
            return json_answer(400, {"message": refused.message, "status": refused.code})
        return page(404, "Not found.")

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        local = urlsplit(origin).hostname in ("localhost", "127.0.0.1")
        if not origin or not (local or origin in self.settings.embedding_app_origins_sdk.split()):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Headers": "*",
            "Access-Control-Allow-Methods": "*",
            "Access-Control-Expose-Headers": "X-Metabase-Version",
            "Access-Control-Max-Age": "60",
            "Vary": "Origin",
        }
