"""What a login changes at the stand-in: people, attributes, groups and tenants."""

from collections.abc import Callable
from typing import Any

import pytest

from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn

ADA = "ada@example.com"
ACME = {"@tenant": "acme"}

Start = Callable[..., StandIn]
LogIn = Callable[..., Reply]


@pytest.fixture
def log_in(secret: str) -> LogIn:
    """Exchanges a token with these claims."""

    def exchange(metabase: StandIn, **claims: Any) -> Reply:
        extra = {"token": "true"} if metabase.settings()["version"] <= 54 else {}
        return call("GET", f"{metabase.url}/auth/sso", headers=SDK, jwt=token(secret, **claims), **extra)

    return exchange


def test_the_first_login_makes_an_account(metabase: StandIn, log_in: LogIn) -> None:
    assert log_in(metabase).status == 200
    (person,) = metabase.people()
    assert (person["email"], person["first_name"], person["last_name"]) == (ADA, "Ada", "Lovelace")
    assert (person["sso_source"], person["groups"]) == ("jwt", [1])


def test_upper_and_lower_case_are_one_person(metabase: StandIn, log_in: LogIn) -> None:
    metabase.add_person("Ada@Example.com")
    log_in(metabase, email="ADA@EXAMPLE.COM")
    assert metabase.counts()["people"] == 1
    assert metabase.counts()["logins"] == 1


@pytest.mark.parametrize("given", [{}, {"active": False}], ids=["unknown", "deactivated"])
def test_without_provisioning_an_active_account_is_needed(
    start_metabase: Start, log_in: LogIn, given: dict[str, Any]
) -> None:
    metabase = start_metabase(jwt_user_provisioning=False, site_name="Acme")
    if given:
        metabase.add_person(ADA, **given)
    reply = log_in(metabase)
    said = "Sorry, but you'll need a Acme account to view this page. Please contact your administrator."
    assert (reply.status, reply.text) == (401, said)
    assert metabase.counts()["active_people"] == 0


def test_provisioning_reactivates_in_silence(metabase: StandIn, log_in: LogIn) -> None:
    metabase.add_person(ADA, active=False)
    assert log_in(metabase).status == 200
    assert metabase.person(ADA)["active"]


def test_a_missing_email_is_a_401_from_58(start_metabase: Start, log_in: LogIn) -> None:
    reply = log_in(start_metabase(version=58), email=None)
    assert (reply.status, reply.text) == (401, "JWT token missing email claim")
    assert log_in(start_metabase(version=57), email=None).status == 500


def test_what_is_no_address_is_unexpected(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(use_tenants=True)
    reply = log_in(metabase, email="ada", **ACME)
    assert (reply.status, reply.text) == (401, "An unexpected error occurred during authentication")
    assert (metabase.people(), metabase.tenants()) == ([], [])


def test_missing_names_are_unknown_or_null_and_overwrite_nothing(start_metabase: Start, log_in: LogIn) -> None:
    for version, name in ((49, "Unknown"), (61, None)):
        metabase = start_metabase(version=version)
        log_in(metabase, first_name=None, last_name=None)
        assert metabase.person(ADA)["first_name"] == name
        log_in(metabase)
        log_in(metabase, first_name=None, last_name=None)
        assert metabase.person(ADA)["last_name"] == "Lovelace"


def test_claims_can_have_other_names(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(jwt_attribute_email="mail", jwt_attribute_firstname="given")
    log_in(metabase, mail="grace@example.com", given="Grace")
    (person,) = metabase.people()
    assert (person["email"], person["first_name"]) == ("grace@example.com", "Grace")
    # What was a name by default is an attribute now.
    assert person["jwt_attributes"] == {"email": ADA, "first_name": "Ada"}


# Attributes

ODD = {"plan": "gold", "seats": 42, "trial": False, "list": ["a"], "object": {"a": 1}, "@own": "x", "scope": "s"}


def test_from_56_attributes_are_strings(metabase: StandIn, log_in: LogIn) -> None:
    log_in(metabase, **ODD, iss="i", sub="s", aud="a", jti="j", nbf=1, groups=[])
    expected = {"plan": "gold", "seats": "42", "trial": "false", "scope": "s"}
    assert metabase.person(ADA)["jwt_attributes"] == expected


def test_manual_attributes_win_over_those_of_tokens_from_56(metabase: StandIn, log_in: LogIn) -> None:
    metabase.add_person(ADA, login_attributes={"plan": "manual"})
    session = {"X-Metabase-Session": log_in(metabase, plan="gold", region="eu").json["id"]}
    shown = call("GET", f"{metabase.url}/api/user/current", headers=session).json
    assert shown["attributes"] == {"plan": "manual", "region": "eu"}


def test_before_56_attributes_are_taken_as_given_and_replace_all(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(version=55)
    metabase.add_person(ADA, login_attributes={"manual": "x"})
    log_in(metabase, **ODD)
    assert metabase.person(ADA)["login_attributes"] == ODD


def test_before_51_registered_claims_are_attributes(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(version=50)
    log_in(metabase, iss="me", jti="1")
    assert metabase.person(ADA)["login_attributes"].keys() == {"exp", "iss", "jti"}


# Groups


def groups_of(metabase: StandIn) -> set[str]:
    names = {number: name for name, number in metabase.groups().items()}
    return {names[number] for number in metabase.person(ADA)["groups"]}


def in_groups(metabase: StandIn, *names: str) -> None:
    for name in ("Sales", "Support", "Süd"):
        metabase.add_group(name)
    metabase.add_person(ADA, groups=["All Users", *names])


def test_group_sync_is_off_by_default(metabase: StandIn, log_in: LogIn) -> None:
    in_groups(metabase, "Sales")
    log_in(metabase, groups=["Support"])
    assert groups_of(metabase) == {"All Users", "Sales"}


@pytest.mark.parametrize(
    ("groups", "joined"),
    [
        (None, {"Sales"}),
        (["Support", "Süd", "no such"], {"Support", "Süd"}),
        (["support"], set()),
        ([], set()),
        ("Support", set()),
        (["Administrators"], {"Administrators"}),
    ],
)
def test_without_mappings_groups_are_matched_by_exact_name(
    metabase: StandIn, log_in: LogIn, groups: Any, joined: set[str]
) -> None:
    metabase.change(jwt_group_sync=True)
    in_groups(metabase, "Sales")
    log_in(metabase, groups=groups)
    assert groups_of(metabase) == {"All Users"} | joined


def test_from_66_a_bare_group_is_a_list_of_one(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(version=66, jwt_group_sync=True)
    in_groups(metabase)
    log_in(metabase, groups="Support")
    assert groups_of(metabase) == {"All Users", "Support"}


def test_before_56_nothing_happens_without_mappings(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(version=55, jwt_group_sync=True)
    in_groups(metabase, "Sales")
    log_in(metabase, groups=["Support"])
    assert groups_of(metabase) == {"All Users", "Sales"}


@pytest.mark.parametrize("version", [54, 57, 61])
def test_mappings_manage_their_targets_only(start_metabase: Start, log_in: LogIn, version: int) -> None:
    metabase = start_metabase(version=version, jwt_group_sync=True)
    in_groups(metabase, "Sales", "Süd")
    ids = metabase.groups()
    metabase.change(jwt_group_mappings={"crew": [ids["Support"]], "sellers": [ids["Sales"]]})
    log_in(metabase, groups=["crew", "Süd"])
    assert groups_of(metabase) == {"All Users", "Support", "Süd"}
    log_in(metabase, groups=None)
    assert groups_of(metabase) == {"All Users", "Support", "Süd"}
    log_in(metabase, groups=[])
    assert groups_of(metabase) == {"All Users", "Süd"}


def test_the_last_administrator_stays(metabase: StandIn, log_in: LogIn) -> None:
    metabase.change(jwt_group_sync=True)
    in_groups(metabase, "Administrators")
    log_in(metabase, groups=[])
    assert groups_of(metabase) == {"All Users", "Administrators"}
    metabase.add_person("root@example.com", groups=["Administrators"])
    log_in(metabase, groups=[])
    assert groups_of(metabase) == {"All Users"}


# Tenants


def is_forbidden(reply: Reply, message: str) -> bool:
    assert (reply.status, message in reply.text) == (403, True), reply
    return True


@pytest.mark.parametrize(("claimed", "slug"), [("acme", "acme"), (7, "7")])
def test_an_unknown_tenant_is_made(start_metabase: Start, log_in: LogIn, claimed: Any, slug: str) -> None:
    metabase = start_metabase(use_tenants=True)
    assert log_in(metabase, **{"@tenant": claimed, "@tenant.attributes": {"tier": 2}}).status == 200
    (tenant,) = metabase.tenants()
    assert tenant == {"slug": slug, "name": slug, "active": True, "attributes": {"tier": 2}}
    assert (metabase.person(ADA)["tenant"], metabase.person(ADA)["groups"]) == (slug, [3])
    assert metabase.person(ADA)["jwt_attributes"] == {}


def test_attributes_of_a_tenant_are_added_and_never_overwritten(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(use_tenants=True)
    metabase.set_tenant("acme", attributes={"tier": "1"})
    log_in(metabase, **ACME, **{"@tenant.attributes": {"tier": "2", "region": "eu"}})
    log_in(metabase, **ACME, **{"@tenant.attributes": {"more": []}})
    assert metabase.tenants()[0]["attributes"] == {"tier": "1", "region": "eu"}


def test_a_person_and_the_tenant_belong_together(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(use_tenants=True)
    # The trap: a first login without the tenant makes an internal user for good.
    assert log_in(metabase).status == 200
    assert is_forbidden(log_in(metabase, **ACME), "Cannot add tenant claim to internal user")
    eve = {"email": "eve@example.com"}
    assert log_in(metabase, **eve, **ACME).status == 200
    assert is_forbidden(log_in(metabase, **eve), "Tenant claim required for external user")
    assert is_forbidden(log_in(metabase, **eve, **{"@tenant": "other"}), "Tenant ID mismatch with existing user")
    assert [tenant["slug"] for tenant in metabase.tenants()] == ["acme"]


def test_a_tenant_is_reactivated_by_provisioning_only(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(use_tenants=True, jwt_user_provisioning=False)
    metabase.set_tenant("acme", active=False)
    metabase.add_person(ADA, tenant="acme")
    assert is_forbidden(log_in(metabase, **ACME), "Tenant is not active")
    metabase.change(jwt_user_provisioning=True)
    assert log_in(metabase, **ACME).status == 200
    assert metabase.tenants()[0]["active"]


def test_with_tenants_off_nothing_may_have_one(metabase: StandIn, log_in: LogIn) -> None:
    assert is_forbidden(log_in(metabase, **ACME), "Tenants and tenant users are disabled.")
    metabase.set_tenant("acme")
    metabase.add_person(ADA, tenant="acme")
    assert is_forbidden(log_in(metabase), "Tenants and tenant users are disabled.")


@pytest.mark.parametrize("claimed", [True, {"slug": "acme"}, ["acme"]])
def test_a_tenant_is_a_text_or_a_whole_number(start_metabase: Start, log_in: LogIn, claimed: Any) -> None:
    reply = log_in(start_metabase(use_tenants=True), **{"@tenant": claimed})
    assert (reply.status, reply.text) == (401, "Value of `@tenant` must be a string")


def test_before_58_there_are_no_tenants(start_metabase: Start, log_in: LogIn) -> None:
    metabase = start_metabase(version=54, use_tenants=True)
    assert log_in(metabase, **ACME).status == 200
    assert metabase.person(ADA)["login_attributes"] == ACME
