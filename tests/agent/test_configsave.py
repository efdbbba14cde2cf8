import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.agent.configfile import load
from tunnelctl.agent.configsave import save_secret, with_secret, write_private
from tunnelctl.agent.yamlfile import FileInvalid


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'version: 3\nagent:\n  authtoken: "new"\n'),
        ("# mine\n", '# mine\nversion: 3\nagent:\n  authtoken: "new"\n'),
        ("version: 3\n", 'version: 3\nagent:\n  authtoken: "new"\n'),
        ("version: 3\nagent:\n  authtoken: old # why\n", 'version: 3\nagent:\n  authtoken: "new" # why\n'),
        ("version: 3\nagent:\n    log: x\n", 'version: 3\nagent:\n    authtoken: "new"\n    log: x\n'),
        ("version: 3\nagent: {log: x}\n", 'version: 3\nagent: {authtoken: "new", log: x}\n'),
        ("version: 3\nagent:\n", 'version: 3\nagent: {authtoken: "new"}\n'),
        ("agent: {}\nversion: 3\n", 'agent: {authtoken: "new"}\nversion: 3\n'),
        ("agent:\n  authtoken:\nversion: 3\n", 'agent:\n  authtoken: "new"\nversion: 3\n'),
        ("agent:\n  log: x\n", 'version: 3\nagent:\n  authtoken: "new"\n  log: x\n'),
        ("version: 2\nlog: x\n", 'authtoken: "new"\nversion: 2\nlog: x\n'),
    ],
)
def test_only_the_token_changes(before, after):
    assert with_secret(before, "authtoken", "new", Path("f")) == after


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_whatever_the_token_it_is_read_back(token):
    path = Path("/tmp") / f"tunnelctl-test-{os.getpid()}" / "tunnel.yml"
    try:
        save_secret(path, "authtoken", token)
        assert load(path).authtoken == token
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def test_nobody_else_can_read_the_file_or_its_folder(tmp_path):
    """Row 157."""
    path = tmp_path / "new" / "tunnel.yml"
    save_secret(path, "authtoken", "tok")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_to_the_real_file_stays_a_link(tmp_path):
    """Row 157."""
    real, link = tmp_path / "real.yml", tmp_path / "tunnel.yml"
    real.write_text("version: 3\n")
    link.symlink_to(real)
    save_secret(link, "authtoken", "tok")
    assert link.is_symlink()
    assert load(real).authtoken == "tok"


def test_a_file_that_cannot_be_read_is_not_overwritten(tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text("a: b: c\n")
    with pytest.raises(FileInvalid):
        save_secret(path, "authtoken", "tok")
    assert path.read_text() == "a: b: c\n"


def test_a_file_that_cannot_be_edited_is_left_as_it_is(tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text("{version: 3}\n")
    with pytest.raises(FileInvalid):
        save_secret(path, "authtoken", "tok")
    assert path.read_text() == "{version: 3}\n"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    """Row 157."""
    path = tmp_path / "tunnel.yml"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(path, "text")
    assert list(tmp_path.iterdir()) == [path]
