"""/api/dashboard: every number is a dashboard, with one text card that tells who is asking.

As few keys as the SDK shows a dashboard with: Metabase answers many more.
"""

import re
from typing import TYPE_CHECKING, Any

from .api import caller
from .directory import Person
from .http_message import Answer, Request, json_answer, text

if TYPE_CHECKING:
    from .instance import Instance

PATH = re.compile(r"/api/dashboard/(\d{1,9})(/query_metadata)?")
NOTHING_TO_QUERY = {name: [] for name in ("databases", "tables", "fields", "cards", "dashboards")}
AROUND = {
    "/api/collection/root": {"id": "root", "name": "Our analytics", "can_write": False},
    "/api/database": {"data": [], "total": 0},
    "/api/pulse/form_input": {"channels": {}},
}


def around(instance: "Instance", request: Request) -> Answer:
    """What the SDK asks beside a dashboard: where it is, and what its people could do with it."""
    if not _is_known(instance, request):
        return text(401, "Unauthenticated")
    return json_answer(200, AROUND[request.path])


def dashboard(instance: "Instance", request: Request, number: int, *, metadata: bool) -> Answer:
    """GET /api/dashboard/NUMBER, or with `metadata` what its cards would query."""
    if not _is_known(instance, request):
        return text(401, "Unauthenticated")
    if metadata:
        return json_answer(200, NOTHING_TO_QUERY)
    person, _ = caller(instance, request)
    return json_answer(
        200,
        {
            "id": number,
            "name": f"Dashboard {number}",
            "description": None,
            "archived": False,
            "can_write": False,
            "collection_id": None,
            "auto_apply_filters": True,
            "width": "fixed",
            "parameters": [],
            "param_fields": {},
            "tabs": [],
            "dashcards": [_text_card(number, _shown_to(person))],
        },
    )


def _is_known(instance: "Instance", request: Request) -> bool:
    return caller(instance, request) != (None, None)


def _shown_to(person: Person | None) -> str:
    """What row-level security would go by."""
    if person is None:
        return "For an API key, without attributes"
    attributes = person.jwt_attributes | person.login_attributes
    return f"For {person.email}: " + ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()))


def _text_card(number: int, words: str) -> dict[str, Any]:
    virtual = {"name": None, "display": "text", "visualization_settings": {}, "dataset_query": {}, "archived": False}
    return {
        "id": number,
        "dashboard_id": number,
        "dashboard_tab_id": None,
        "card_id": None,
        "card": None,
        "series": [],
        "parameter_mappings": [],
        "row": 0,
        "col": 0,
        "size_x": 24,
        "size_y": 3,
        "visualization_settings": {"virtual_card": virtual, "text": words},
    }
