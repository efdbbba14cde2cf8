"""Settings of the dashboard's own login: where its secret may stand, and what cannot be meant."""

from pathlib import Path

import pytest

from tunnelctl.secret import MASK, Secret
from tunnelrelay.config.config import RelayConfig, load_config
from tunnelrelay.config.sources import ConfigError

CANARY = "canary-of-the-dashboard"
WHOLE = {
    "dashboard_oidc": "https://login.acme.example",
    "dashboard_oidc_client_id": "0oa1",
    "dashboard_admin": "admins",
}


def load(env: dict[str, str] | None = None, file: Path | None = None, **flags: object) -> RelayConfig:
    return load_config(flags=flags, env=env or {}, file=file)


def mistakes(env: dict[str, str] | None = None, file: Path | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as refused:
        load(env, file, **flags)
    return str(refused.value)


def test_the_secret_comes_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "secret"
    kept.write_text(f"{CANARY}\n")
    monkeypatch.setenv("MY_SECRET", CANARY)

    for text in (f"file:{kept}", "env:MY_SECRET"):
        config = load(**WHOLE, dashboard_oidc_client_secret=text)
        assert config.dashboard_oidc_client_secret == Secret(CANARY)
    assert load({"TUNNELRELAY_DASHBOARD_OIDC_CLIENT_SECRET": CANARY}, **WHOLE).dashboard_oidc_client_secret == Secret(
        CANARY
    )


def test_row156_the_secret_never_stands_in_a_flag_and_is_not_repeated(tmp_path: Path) -> None:
    """Row 156."""
    told = mistakes(**WHOLE, dashboard_oidc_client_secret=CANARY)

    assert "--dashboard-oidc-client-secret: everybody on this machine can read" in told
    assert CANARY not in told
    assert CANARY not in mistakes({"TUNNELRELAY_DASHBOARD_OIDC_CLIENT_SECRET": f"{CANARY}\x00"}, **WHOLE)
    config = load({"TUNNELRELAY_DASHBOARD_OIDC_CLIENT_SECRET": CANARY}, **WHOLE)
    assert CANARY not in repr(config)
    assert MASK in repr(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env:NOT_SET", "the environment variable NOT_SET is not set"),
        ("file:nowhere", "cannot read nowhere: No such file"),
    ],
)
def test_a_secret_that_is_not_there_is_a_mistake(text: str, words: str) -> None:
    assert words in mistakes(**WHOLE, dashboard_oidc_client_secret=text)


def test_row159_a_provider_by_which_nobody_could_come_in_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 159."""
    monkeypatch.setenv("MY_SECRET", CANARY)
    without = {name: value for name, value in WHOLE.items() if name != "dashboard_admin"}

    assert "no user could sign in" in mistakes(**without, dashboard_oidc_client_secret="env:MY_SECRET")
    assert load(**without, dashboard_member="staff", dashboard_oidc_client_secret="env:MY_SECRET").dashboard_member == (
        "staff",
    )


def test_all_that_is_missing_is_told_at_once() -> None:
    told = mistakes(dashboard_oidc="https://login.acme.example")
    for name in ("dashboard_oidc_client_id", "dashboard_oidc_client_secret", "no user could sign in"):
        assert name in told


@pytest.mark.parametrize(
    "name", ["dashboard_oidc_client_id", "dashboard_admin", "dashboard_member", "dashboard_owner_claim"]
)
def test_row159_what_needs_a_provider_says_so(name: str) -> None:
    """Row 159."""
    assert "is of no use without dashboard_oidc" in mistakes(**{name: "x"})


@pytest.mark.parametrize(
    "text", ["acme", "ftp://acme.example", "https://", "https://a?b", "https://a#b", "https://a b", "https://[a"]
)
def test_what_is_no_issuer_is_refused(text: str) -> None:
    assert "issuer" in mistakes(dashboard_oidc=text)


def test_plain_http_to_a_provider_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", CANARY)
    plain = {**WHOLE, "dashboard_oidc": "http://127.0.0.1:9400", "dashboard_oidc_client_secret": "env:MY_SECRET"}

    assert load(**plain).dashboard_oidc == "http://127.0.0.1:9400"
    assert "by https only" in mistakes(**plain, public_url="https://*.tun.example")
