"""The control over HTTP: arguments are a JSON object in the body, answers are JSON, 400 says what cannot be."""

import json
from collections.abc import Callable
from typing import Any

from .control import Control
from .http_message import Answer, Request, json_answer, text

ROUTES: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", "/counts"): Control.counts,
    ("GET", "/settings"): Control.settings,
    ("PATCH", "/settings"): Control.change,
    ("GET", "/people"): Control.people,
    ("POST", "/people"): Control.add_person,
    ("PATCH", "/people"): Control.change_person,
    ("GET", "/groups"): Control.groups,
    ("POST", "/groups"): Control.add_group,
    ("GET", "/tenants"): Control.tenants,
    ("PUT", "/tenants"): Control.set_tenant,
    ("GET", "/sessions"): Control.sessions,
    ("POST", "/sessions"): Control.open_session,
    ("DELETE", "/sessions"): Control.end_sessions,
    ("POST", "/api-keys"): Control.add_api_key,
    ("GET", "/requests"): Control.requests,
    ("DELETE", "/requests"): Control.forget_requests,
    ("GET", "/faults"): Control.faults,
    ("POST", "/faults"): Control.fault,
    ("DELETE", "/faults"): Control.end_faults,
}


def control_answer(control: Control, request: Request) -> Answer:
    """200 with what the method returns, or 204 when that is nothing."""
    route = ROUTES.get((request.method, request.path))
    if route is None:
        return text(404, f"There is no {request.method} {request.path}.")
    try:
        arguments = json.loads(request.body or b"{}")
        if not isinstance(arguments, dict):
            raise TypeError("the body must be a JSON object")
        result = route(control, **arguments)
    except (TypeError, ValueError) as cannot:
        return text(400, str(cannot))
    return Answer(204) if result is None else json_answer(200, result)
