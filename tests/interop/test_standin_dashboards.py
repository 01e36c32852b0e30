"""The stand-in's dashboards, which show the SDK whom they are for, and its page that signs out."""

import pytest

from metabase_caller import call, token
from standin_metabase import StandIn

ADA = "ada@example.com"
ENDPOINTS = [
    "/api/dashboard/1",
    "/api/dashboard/1/query_metadata",
    "/api/collection/root",
    "/api/database",
    "/api/pulse/form_input",
]


@pytest.fixture
def session(metabase: StandIn) -> str:
    """The key of Ada's session; a token gave her an attribute."""
    metabase.add_person(ADA, jwt_attributes={"region": "emea"})
    return metabase.open_session(ADA)["id"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_dashboards_are_for_people_with_a_session(metabase: StandIn, session: str, path: str) -> None:
    assert call("GET", f"{metabase.url}{path}", headers={"X-Metabase-Session": session}).status == 200
    refused = call("GET", f"{metabase.url}{path}")
    assert (refused.status, refused.text) == (401, "Unauthenticated")


def test_a_dashboard_tells_whom_it_is_for(metabase: StandIn, session: str) -> None:
    shown = call("GET", f"{metabase.url}/api/dashboard/7", headers={"X-Metabase-Session": session}).json
    assert (shown["id"], shown["name"]) == (7, "Dashboard 7")
    assert [card["visualization_settings"]["text"] for card in shown["dashcards"]] == [f"For {ADA}: region emea"]
    key = {"X-Api-Key": metabase.add_api_key("All Users")["key"]}
    cards = call("GET", f"{metabase.url}/api/dashboard/7", headers=key).json["dashcards"]
    assert cards[0]["visualization_settings"]["text"] == "For an API key, without attributes"


@pytest.mark.parametrize("path", ["/api/dashboard/", "/api/dashboard/one", "/api/dashboard/1/cards"])
def test_there_are_no_others(metabase: StandIn, session: str, path: str) -> None:
    assert call("GET", f"{metabase.url}{path}", headers={"X-Metabase-Session": session}).status == 404


@pytest.mark.parametrize("in_frame", [False, True])
def test_the_logout_page_ends_the_session_of_the_browser_alone(metabase: StandIn, secret: str, in_frame: bool) -> None:
    headers = {"Sec-Fetch-Dest": "iframe"} if in_frame else {}
    metabase.add_person("grace@example.com")
    metabase.open_session("grace@example.com")
    answer = call("GET", f"{metabase.url}/auth/sso", headers=headers, jwt=token(secret))
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert len(metabase.sessions()) == 2
    assert call("GET", f"{metabase.url}/auth/logout", headers={"Cookie": cookie}).status == 200
    assert [session["email"] for session in metabase.sessions()] == ["grace@example.com"]
