import pytest

from tests.policy.making import KEY, oidc, policy, problems
from tunnelctl.policy.values import RESERVED_PARAMS
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy


def test_what_is_asked_of_logins_is_in_the_connection():
    connection = policy(
        oidc=oidc(request_params=(("max_age", "600"), ("ui_locales", "de")), require_acr=("gold",), bearer=("", "api"))
    ).connection

    assert connection.max_age == 600
    assert connection.required_acr == {"gold"}
    assert connection.bearer == {"0oa1", "api"}


def test_the_audience_is_sent_with_the_parameters_and_is_as_good_as_one_of_them():
    one = policy(oidc=oidc(audience="api", request_params=(("prompt", "login"),))).connection
    other = policy(oidc=oidc(request_params=(("audience", "api"), ("prompt", "login")))).connection

    assert one.request_params == (("prompt", "login"), ("audience", "api"))
    assert one.epoch == other.epoch


@pytest.mark.parametrize("name", sorted(RESERVED_PARAMS))
def test_a_parameter_of_the_logins_own_is_never_the_owners(name: str):
    """Row 58."""
    assert problems(oidc=oidc(request_params=((name, "x"),))) == [
        f"oidc: the request parameter {name} is the relay's own"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"request_params": (("max_age", "-1"),)},
        {"request_params": (("max_age", "1e3"),)},
        {"request_params": (("prompt", "login"), ("prompt", "none"))},
        {"request_params": (("response_mode", "fragment"),)},
        {"request_params": (("a b", "c"),)},
        {"request_params": (("a", "c\r\nd"),)},
        {"audience": " "},
        {"audience": "a\r\nb"},
        {"audience": "x" * 513},
        {"audience": "api", "request_params": (("audience", "api"),)},
        {"require_acr": ("",)},
        {"groups_claim": ""},
        {"recheck_seconds": 9},
        {"recheck_seconds": -1},
        {"on_recheck_error": "open"},
        {"email_verified": "yes"},
        {"callback": "elsewhere"},
        {"callback": "host", "request_params": (("response_mode", "form_post"),)},
        {"allow_origins": ("*",)},
        {"allow_origins": ("https://a.example/path",)},
        {"allow_origins": ("null",)},
        {"allow_origins": ("https://a.example@evil.example",)},
    ],
)
def test_a_wish_that_means_nothing_is_refused(changes):
    assert len(problems(oidc=oidc(**changes))) == 1


def test_a_relay_on_this_machine_asks_as_often_as_once_a_second():
    def asking_every(seconds: int, *, is_local: bool) -> int:
        spec = PolicySpec(oidc=oidc(recheck_seconds=seconds))
        policy = compile_policy(spec, upstream="http://a", owner="o", key=KEY, is_local=is_local)
        return policy.connection.recheck_seconds

    assert asking_every(1, is_local=True) == 1
    assert asking_every(10, is_local=False) == 10
    with pytest.raises(PolicyInvalid, match="0 \\(never\\) or 10 to"):
        asking_every(1, is_local=False)


def test_origins_are_kept_as_browsers_write_them():
    assert policy(oidc=oidc(allow_origins=("https://A.example:443/", "http://b.example:8080"))).origins == {
        b"https://a.example",
        b"http://b.example:8080",
    }


def test_logins_made_under_other_wishes_are_over_and_the_same_wishes_keep_them():
    epochs = [
        policy(oidc=oidc(**changes)).connection.epoch
        for changes in (
            {},
            {"request_params": (("acr_values", "gold"),)},
            {"audience": "gold"},
            {"require_acr": ("gold",)},
            {"groups_claim": "roles"},
            {"email_verified": "text"},
        )
    ]

    assert len(set(epochs)) == len(epochs)
    assert epochs[0] == policy(oidc=oidc(recheck_seconds=60, allow_preflight=True)).connection.epoch
