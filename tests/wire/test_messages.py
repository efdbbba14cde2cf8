import msgspec
import pytest

from tunnelctl.wire.messages import Bind, Hello, Message, OidcSpec, PolicySpec, Superseded, Unbind, Welcome

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


def test_no_secret_shows_in_a_repr() -> None:
    oidc = OidcSpec(issuer="https://idp.example", client_id="web", client_secret=SECRET)
    policy = PolicySpec(oidc=oidc, basic_auth=(f"ann:{SECRET}",))
    assert SECRET not in repr(Bind(tunnel=1, name="web", upstream="u", policy=policy))
