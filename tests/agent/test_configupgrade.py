from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.agent.configupgrade import CannotUpgrade, upgraded
from tunnelctl.agent.yamlfile import FileInvalid

F = Path("f")
OLD = """\
# mine
authtoken: x
region: eu # near
# the relay
server_addr: tun.example:443 # w
version: 2
tunnels:
  # shop
  web:
    addr: 80
    basic_auth:
      - "a:long-enough"
root_cas: trusted
"""
NEW = """\
# mine
version: 3
agent:
  authtoken: x
  region: eu # near
  # the relay
  connect_url: tun.example:443 # w
  connect_cas: trusted
tunnels:
  # shop
  web:
    addr: 80
    basic_auth:
      - "a:long-enough"
"""


def test_what_is_about_the_agent_moves_below_agent_and_comments_go_with_it():
    upgrade = upgraded(OLD, F)
    assert upgrade.text == NEW
    assert upgrade.before == 2
    assert upgrade.changes == (
        "`server_addr` is called `connect_url`",
        "`root_cas` is called `connect_cas`",
        "below `agent`: authtoken, region, connect_url, connect_cas",
    )


@every(
    "text", [OLD, "", "authtoken: x", "log: |\n  a\n  b\nauthtoken: x\n", "tunnels: {a: {addr: 1}}\n", "version: 2\n"]
)
def test_a_file_that_was_written_anew_needs_it_no_more(text):
    once = upgraded(text, F)
    again = upgraded(once.text, F)
    assert (again.text, again.changes) == (once.text, ())
    assert once.changes


def test_a_file_without_a_version_that_is_else_of_the_third_gets_just_that():
    assert upgraded("agent:\n  log: x\n", F).text == "version: 3\nagent:\n  log: x\n"


@every("text", ["{authtoken: x}", "log: 'a\n# b'\nversion: 2\n", "version: [2]\n", "- a\n", "a: b: c"])
def test_a_file_in_an_unusual_form_is_refused(text):
    with pytest.raises(FileInvalid):
        upgraded(text, F)


@every("text, to", [("version: 3\n", 2), ("version: 2\n", 2), ("version: 2\n", 4), ("version: 4\n", 3)])
def test_no_file_is_written_as_another_version_than_this(text, to):
    with pytest.raises(CannotUpgrade):
        upgraded(text, F, to=to)


def test_no_value_is_in_what_is_told():
    assert not any("sesame" in change for change in upgraded("authtoken: sesame\napi_key: sesame\n", F).changes)


KEYS = st.sampled_from(["authtoken", "log", "server_addr", "region", "version", "tunnels", "# c", "", "  in: 1", "- x"])
VALUES = st.sampled_from(["", " 2", " x", " |", " >-", " 'a", " [1,", " {a: 1}", " # c"])


@given(st.lists(st.builds("{}:{}\n".format, KEYS, VALUES), max_size=6).map("".join))
def test_any_text_is_written_anew_or_a_documented_error(text):
    try:
        upgrade = upgraded(text, F)
    except (FileInvalid, CannotUpgrade):
        return
    assert upgraded(upgrade.text, F).changes == ()
