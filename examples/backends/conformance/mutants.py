"""Mistakes that authors of backends make, each seeded into a copy of the Python backend, and what catches it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from backend_process import FOLDER, Program

ORIGINAL = FOLDER / "python-fastapi"


@dataclass
class Mistake:
    """A text of a file of the original, what the author wrote instead, and the checks that have to fail."""

    file: str
    right: str
    wrong: str
    caught_by: list[str]


MISTAKES = {
    "email-from-the-query": Mistake(
        "app.py",
        "        wants_json, return_to = sso_query(request.url.query)\n",
        "        wants_json, return_to = sso_query(request.url.query)\n"
        '        person = person | {"email": request.query_params.get("email", person["email"])}\n',
        ["test_identity_comes_from_the_session_only"],
    ),
    "person-from-a-header": Mistake(
        "app.py",
        'name = sessions.get(request.cookies.get(settings.cookie_name, ""))',
        'name = request.headers.get("x-user") or sessions.get(request.cookies.get(settings.cookie_name, ""))',
        ["test_identity_comes_from_the_session_only"],
    ),
    "any-origin": Mistake(
        "app.py",
        '        response.headers["Cache-Control"] = "no-store"\n',
        '        response.headers["Cache-Control"] = "no-store"\n'
        '        response.headers["Access-Control-Allow-Origin"] = "*"\n',
        ["test_the_app_may_read_every_answer", "test_no_other_origin_may_read_anything"],
    ),
    "whatever-origin-asks": Mistake(
        "app.py",
        "if origin is not None and origin not in settings.origins:",
        "if origin is None:\n            response: Response = await call_next(request)\n        elif False:",
        ["test_no_other_origin_may_read_anything", "test_other_sites_sign_nobody_in_or_out"],
    ),
    "token-kept-for-all": Mistake(
        "token_service.py",
        "        return await self._answer(self._stub.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS))\n",
        "        if not hasattr(self, '_kept'):\n"
        "            self._kept = await self._answer(self._stub.IssueMetabaseToken(request, timeout=2))\n"
        "        return self._kept\n",
        ["test_two_people_get_two_tokens", "test_every_request_gets_a_token_of_its_own"],
    ),
    "token-kept-for-each": Mistake(
        "token_service.py",
        "        return await self._answer(self._stub.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS))\n",
        "        kept = self.__dict__.setdefault('_kept', {})\n"
        "        key = (person['email'], return_to)\n"
        "        if key not in kept:\n"
        "            kept[key] = await self._answer(self._stub.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS))\n"
        "        return kept[key]\n",
        ["test_every_request_gets_a_token_of_its_own"],
    ),
    "answer-may-be-stored": Mistake(
        "app.py",
        '        response.headers["Cache-Control"] = "no-store"\n',
        "",
        ["test_the_answer_is_never_stored"],
    ),
    "return-to-not-encoded": Mistake(
        "app.py",
        "return RedirectResponse((await service.issue(person, return_to)).sso_url, 302)",
        'url = (await service.issue(person, return_to)).sso_url.partition("&return_to=")[0]\n'
        '        return Response(status_code=302, headers={"Location": f"{url}&return_to={return_to}"})',
        ["test_the_person_lands_where_metabase_wanted_them"],
    ),
    "return-to-cut-off": Mistake(
        "app.py",
        'if found and "?" in rest:',
        "if False:",
        ["test_the_person_lands_where_metabase_wanted_them", "test_return_to_is_passed_as_it_is_meant"],
    ),
    "groups-as-letters": Mistake(
        "token_service.py",
        'names=person["groups"]',
        'names=person["groups"][0]',
        ["test_groups_arrive_as_a_list", "test_the_request_says_who_and_nothing_else"],
    ),
    "groups-as-one-string": Mistake(
        "token_service.py",
        'names=person["groups"]',
        'names=[",".join(person["groups"])]',
        ["test_groups_arrive_as_a_list", "test_the_request_says_who_and_nothing_else"],
    ),
    "no-deadline": Mistake(
        "token_service.py",
        "self._stub.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS)",
        "self._stub.IssueMetabaseToken(request)",
        ["test_every_rpc_has_a_deadline"],
    ),
    "everything-tried-again": Mistake(
        "token_service.py",
        '"retryableStatusCodes": ["UNAVAILABLE"]',
        '"retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "PERMISSION_DENIED"]',
        ["test_failures_are_told_once_and_safely"],
    ),
    "own-refusal-as-401": Mistake(
        "token_service.py",
        "raise Failure(*BY_CODE.get(error.code(), OTHERWISE)) from None",
        "if error.code() is grpc.StatusCode.UNAUTHENTICATED:\n"
        '                raise Failure(401, "NOT_SIGNED_IN", "Sign in first.") from None\n'
        "            raise Failure(*BY_CODE.get(error.code(), OTHERWISE)) from None",
        ["test_failures_are_told_once_and_safely"],
    ),
    "cookie-for-scripts": Mistake(
        "app.py",
        '"httponly": True, "samesite"',
        '"httponly": False, "samesite"',
        ["test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites"],
    ),
    "session-kept": Mistake(
        "app.py",
        '        sessions.pop(request.cookies.get(settings.cookie_name, ""), None)\n        response.delete_cookie',
        "        response.delete_cookie",
        ["test_signing_out_ends_the_session_on_the_server_too"],
    ),
    "token-in-the-log": Mistake(
        "app.py",
        "        wants_json, return_to = sso_query(request.url.query)\n",
        "        wants_json, return_to = sso_query(request.url.query)\n"
        "        print((await service.issue(person)).jwt, flush=True)\n",
        ["test_no_token_was_logged"],
    ),
}


def mutant(name: str, folder: Path) -> Program:
    """A copy of the original in `folder`, with the mistake of this name."""
    mistake = MISTAKES[name]
    for file in ("app.py", "settings.py", "token_service.py"):
        shutil.copy(ORIGINAL / file, folder)
    (folder / "metabase").symlink_to(ORIGINAL / "metabase")
    file = folder / mistake.file
    text = file.read_text()
    assert text.count(mistake.right) == 1, f"{name}: {mistake.file} does not say, once: {mistake.right}"
    file.write_text(text.replace(mistake.right, mistake.wrong))
    return Program(name, folder, [str(ORIGINAL / ".venv/bin/python"), "app.py"])
