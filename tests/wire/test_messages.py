import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.pair import Pair
from tunnelctl.wire.events import ControlReceived
from tunnelctl.wire.messages import (
    MAX_SETTING,
    Bind,
    HeaderEdit,
    Hello,
    JwtSpec,
    Message,
    OidcSpec,
    PolicySpec,
    RateLimitSpec,
    Superseded,
    Unbind,
    UnknownSettings,
    Welcome,
    read_message,
)
from tunnelctl.wire.problem import MAX_PROBLEMS

SECRET = "hunter2"


@pytest.mark.parametrize(
    "message",
    [
        Hello(agent="0" * 32, version="1.0"),
        Welcome(version="1.0", owner="ann", domain="localhost", heartbeat_seconds=5, max_streams=1024),
        Bind(tunnel=1, name="web", upstream="http://127.0.0.1:3000", policy=PolicySpec(basic_auth=("ann:x",))),
        Unbind(tunnel=1),
        Superseded(tunnel=1, by="192.0.2.1", at="2026-01-01T00:00:00Z"),
    ],
)
def test_a_message_reads_as_it_was_written(message: Message) -> None:
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message


def test_unknown_fields_are_skipped_so_that_versions_can_meet() -> None:
    assert msgspec.json.decode(b'{"type":"unbind","tunnel":1,"why":"later"}', type=Message) == Unbind(tunnel=1)


def test_an_unknown_restriction_is_refused_and_never_lost() -> None:
    text = b'{"type":"bind","tunnel":1,"name":"a","upstream":"u","policy":{"mutual_tls":["ca"]}}'
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Message)


def bind_with(policy: object) -> bytes:
    """A bind of a later release, with settings of its own."""
    return json.dumps({"type": "bind", "tunnel": 3, "name": "a", "upstream": "u", "policy": policy}).encode()


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ({"mutual_tls": ["ca"], "cidr_deny": ["::/0"]}, ("mutual_tls",)),
        ({"oidc": {"issuer": "https://i", "client_id": "c", "client_secret": "s", "dpop": True}}, ("oidc.dpop",)),
        ({"jwt": [{"issuer": "i", "audience": "a", "x": 1}, {"x": 2, "y": 3}]}, ("jwt.x", "jwt.y")),
        ({"rate_limit": {"limit": "1/s", "burst": 3}, "b": 0}, ("rate_limit.burst", "b")),
        ({"ü" * 400: 1}, (("\\xfc" * 400)[:MAX_SETTING],)),
    ],
)
def test_a_bind_with_settings_of_a_later_release_is_told_by_their_names(
    policy: dict[str, Any], settings: tuple[str, ...]
) -> None:
    assert read_message(bind_with(policy)) == UnknownSettings(tunnel=3, settings=settings)


def test_of_very_many_unknown_settings_the_first_are_told() -> None:
    heard = read_message(bind_with({f"s{number}": 1 for number in range(5000)}))
    assert isinstance(heard, UnknownSettings)
    assert len(heard.settings) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"bind","tunnel":"1","name":"a","upstream":"u","policy":{"mutual_tls":1}}',
        b'{"type":"bind","tunnel":1,"name":"a","upstream":"u","policy":{"cidr_deny":5}}',
        b'{"type":"bind","tunnel":1,"name":"a","upstream":"u","policy":{"mutual_tls":1},"policy":{}}',
        b'{"type":"bond","tunnel":1,"policy":{"mutual_tls":1}}',
        b'{"tunnel":1,"policy":{"mutual_tls":1}}',
    ],
)
def test_what_is_no_bind_of_any_release_is_no_message(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_message(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["issuer", "audience", "limit", "add", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*PolicySpec.__struct_fields__, "mutual_tls", ""])


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_no_setting_of_a_bind_is_lost_whatever_it_is(policy: dict[str, Any]) -> None:
    try:
        heard = read_message(bind_with(policy))
    except msgspec.ValidationError:
        return
    if isinstance(heard, Bind):
        assert policy.keys() <= set(PolicySpec.__struct_fields__)
    else:
        assert isinstance(heard, UnknownSettings)
        assert heard.settings


def test_a_bind_with_an_unknown_setting_leaves_the_link_as_it_is() -> None:
    pair = Pair()
    pair.relay_heard.clear()
    policy = msgspec.defstruct("Later", [("mutual_tls", bool)])(mutual_tls=True)
    later = msgspec.defstruct("LaterBind", [("tunnel", int), ("policy", Any)], tag="bind")(tunnel=1, policy=policy)
    pair.agent.send_control(later)  # type: ignore[arg-type]  # a message of a later release
    pair.agent.send_control(Unbind(tunnel=2))
    pair.settle()

    assert pair.relay_heard == [
        ControlReceived(UnknownSettings(tunnel=1, settings=("mutual_tls",))),
        ControlReceived(Unbind(tunnel=2)),
    ]


def test_an_older_relay_refuses_a_path_without_a_login() -> None:
    fields = [(name, object) for name in OidcSpec.__struct_fields__ if name != "public_paths"]
    older = msgspec.defstruct("OidcSpec", fields, forbid_unknown_fields=True, kw_only=True)
    oidc = OidcSpec(issuer="https://idp.example", client_id="web", client_secret=SECRET, public_paths=("/health",))
    with pytest.raises(msgspec.ValidationError, match="unknown field `public_paths`"):
        msgspec.json.decode(msgspec.json.encode(oidc), type=older)


def test_a_relay_of_a_release_that_knows_no_rate_limit_refuses_a_policy_with_one_and_takes_others() -> None:
    known = [field for field in msgspec.structs.fields(PolicySpec) if field.name != "rate_limit"]
    older = msgspec.defstruct(
        "PolicySpec", [(field.name, field.type, field.default) for field in known], forbid_unknown_fields=True
    )
    assert msgspec.json.decode(msgspec.json.encode(PolicySpec(cidr_deny=("::/0",))), type=older).cidr_deny == ("::/0",)
    with pytest.raises(msgspec.ValidationError, match="rate_limit"):
        msgspec.json.decode(msgspec.json.encode(PolicySpec(rate_limit=RateLimitSpec(limit="1/s"))), type=older)


def test_a_policy_leaves_out_what_is_as_by_default_so_that_older_relays_take_it() -> None:
    oidc = OidcSpec(issuer="https://idp.example", client_id="web", client_secret=SECRET)
    policy = PolicySpec(oidc=oidc, jwt=(JwtSpec(issuer="https://ci.example", audience="a"),))
    assert msgspec.json.decode(msgspec.json.encode(policy)) == {
        "oidc": {"issuer": "https://idp.example", "client_id": "web", "client_secret": SECRET},
        "jwt": [{"issuer": "https://ci.example", "audience": "a"}],
    }
    assert msgspec.json.decode(msgspec.json.encode(policy), type=PolicySpec) == policy
    assert b'"audience":"api"' in msgspec.json.encode(msgspec.structs.replace(oidc, audience="api"))


def test_the_defaults_of_a_policy_stay_as_they_are_for_peers_that_leave_them_out() -> None:
    defaults = {"idle_seconds": 3600, "max_seconds": 28800, "recheck_seconds": 900, "on_recheck_error": "keep"}
    defaults |= {"groups_claim": "groups", "email_verified": "claim", "callback": "relay", "allow_preflight": False}
    oidc = msgspec.structs.asdict(OidcSpec(issuer="i", client_id="c", client_secret="s"))
    assert {name: oidc[name] for name in defaults} == defaults
    rest = {value for name, value in oidc.items() if name not in {*defaults, "issuer", "client_id", "client_secret"}}
    assert rest <= {(), ""}
    policy = msgspec.structs.asdict(PolicySpec())
    assert {name for name, value in policy.items() if value is None} == {"oidc", "host_header", "rate_limit"}
    assert {value for value in policy.values() if value is not None} == {(), HeaderEdit()}
    assert RateLimitSpec(limit="1/s").by == "visitor"
    assert (HeaderEdit().add, HeaderEdit().remove, JwtSpec(issuer="i", audience="a").claims) == ((), (), ())


def test_no_secret_shows_in_a_repr() -> None:
    oidc = OidcSpec(issuer="https://idp.example", client_id="web", client_secret=SECRET)
    policy = PolicySpec(oidc=oidc, basic_auth=(f"ann:{SECRET}",))
    assert SECRET not in repr(Bind(tunnel=1, name="web", upstream="u", policy=policy))
