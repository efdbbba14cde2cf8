"""Every code the service layer says no with is in the API's table, and the table has no others."""

import re
from pathlib import Path

from tests.support.every import every
from tunnelrelay.api.codes import CODES
from tunnelrelay.services.problems import Kind

ROOT = Path(__file__).resolve().parents[2] / "server" / "tunnelrelay"
OF_MANAGE = re.compile(r'ManageError\(\s*Kind\.([A-Z]+),\s*"([a-z_]+)"')
OF_API = re.compile(r'(?:problem|Refusal|_unknown)\(\s*"([a-z_]+)"|return problem\("([a-z_]+)" if .* else "([a-z_]+)"')


def said_by_manage() -> set[tuple[str, str]]:
    sources = [path.read_text() for folder in ("services", "api") for path in (ROOT / folder).glob("*.py")]
    return {found for source in sources for found in OF_MANAGE.findall(source)}


def said_by_api() -> set[str]:
    sources = [path.read_text() for path in (ROOT / "api").glob("*.py")]
    return {code for source in sources for groups in OF_API.findall(source) for code in groups if code}


def test_the_table_has_every_code_and_no_others():
    used = {code for _kind, code in said_by_manage()} | said_by_api()

    assert used == set(CODES)


@every("kind, code", sorted(said_by_manage()))
def test_a_code_has_the_status_of_its_kind(kind, code):
    assert CODES[code].status == Kind[kind].value


def test_programs_for_ngrok_find_its_number_where_there_is_one():
    assert CODES["key_missing"].error_code("key_missing") == "ERR_NGROK_4018"
    assert CODES["not_found"].error_code("not_found") == "ERR_TUNNEL_NOT_FOUND"
