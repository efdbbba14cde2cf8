"""Where the database is: how it is written, and that its password shows nowhere."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunnelrelay.config.config import load_config, load_database
from tunnelrelay.config.database import DatabaseUrl, database_url
from tunnelrelay.config.sources import ConfigError

PLAIN = "postgresql://relay@db.example:5433/tunnel"
WITH_PASSWORD = "postgresql://relay:canary@db.example/tunnel?sslmode=verify-full"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)


def test_without_it_the_relay_keeps_a_file_of_its_own() -> None:
    assert load_config(flags={}, env={}).database is None
    assert load_database(flags={"database": "sqlite"}, env={"TUNNELRELAY_DATABASE": PLAIN}) is None


def test_a_url_is_read_from_a_flag_a_file_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "url"
    file.write_text(WITH_PASSWORD + "\n")
    monkeypatch.setenv("DB", WITH_PASSWORD)
    assert load_database(flags={"database": PLAIN}, env={}) == DatabaseUrl(PLAIN)
    assert load_database(flags={"database": f"file:{file}"}, env={}) == DatabaseUrl(WITH_PASSWORD)
    assert load_database(flags={"database": "env:DB"}, env={}) == DatabaseUrl(WITH_PASSWORD)
    assert load_database(flags={}, env={"TUNNELRELAY_DATABASE": WITH_PASSWORD}) == DatabaseUrl(WITH_PASSWORD)


@pytest.mark.parametrize("url", [WITH_PASSWORD, "postgres://db.example/tunnel?user=relay&password=canary"])
def test_a_password_is_refused_where_everybody_on_the_machine_can_read_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_database(flags={"database": url}, env={})
    assert "everybody on this machine can read" in str(caught.value)
    assert "TUNNELRELAY_DATABASE" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "mysql://relay:canary@db/x",
        "/var/lib/canary.db",
        "postgresql://relay:canary@[db/x",
        "postgresql://a b",
        "postgresql://relay:canary@db/x\x00",
        "",
        "file:/nowhere/at/all",
        "env:NOT_SET",
    ],
)
def test_what_is_no_url_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        database_url(text)
    assert "canary" not in str(caught.value)


def test_it_prints_without_password_and_options() -> None:
    url = DatabaseUrl(WITH_PASSWORD)
    assert str(url) == "postgresql://relay@db.example/tunnel"
    assert "canary" not in f"{url!r} {load_config(flags={}, env={'TUNNELRELAY_DATABASE': WITH_PASSWORD})!r}"
    assert url.reveal() == WITH_PASSWORD


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql:///tunnel", True),
        ("postgresql://relay@localhost/tunnel", True),
        ("postgresql://relay@127.0.0.1:5433,[::1]/tunnel", True),
        ("postgresql://%2Fvar%2Frun/tunnel", True),
        ("postgresql:///tunnel?host=/var/run/postgresql", True),
        ("postgresql:///tunnel?host=db.example", False),
        ("postgresql://localhost,db.example/tunnel", False),
        ("postgresql://10.0.0.5/tunnel", False),
        ("postgresql:///tunnel?service=prod", False),
    ],
)
def test_only_this_machine_is_spared_encryption(url: str, is_local: bool) -> None:
    assert DatabaseUrl(url).is_local is is_local
    assert not DatabaseUrl(url).has_sslmode


def test_a_host_of_the_environment_is_no_more_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    assert not DatabaseUrl("postgresql:///tunnel").is_local


@given(st.text() | st.text().map("postgresql://".__add__) | st.from_regex(r"postgres(ql)?://[^/]*/.*", fullmatch=True))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    assume(not text.startswith(("env:", "file:")))
    try:
        url = database_url(text)
    except ValueError:
        return
    assert url is None or url.reveal() == text


@given(st.text("abcXYZ0123456789-._~!$&'()*+,;=%3A", min_size=8, max_size=40))
def test_a_password_is_never_printed(password: str) -> None:
    url = DatabaseUrl(f"postgresql://relay:{password}@db.example/tunnel?password={password}")
    assert url.has_password
    assert str(url) == "postgresql://relay@db.example/tunnel"
    assert password not in repr(url)
