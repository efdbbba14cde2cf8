"""Whatever JSON a program sends: a tunnel as asked, or a refusal, and never a fault."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.configfile import RESTRICTING
from tunnelctl.agent.definition import FOR_WRAPPERS, DefinitionInvalid, define
from tunnelctl.agent.tunnelfile import TUNNEL_KEYS
from tunnelctl.agent.yamlfile import parse_json
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.wire.messages import PolicySpec

KEYS = [
    *TUNNEL_KEYS, *{key.partition(".")[0] for key in TUNNEL_KEYS}, *RESTRICTING, *FOR_WRAPPERS,
    "auth", "httpauth", "bind_tls", "bindings", "upstream", "name", "protocol", "proxy_protocol",
]  # fmt: skip
TEXTS = st.sampled_from(
    ["http", "tcp", "tls", "8080", "localhost:22", "https://a.example", "tcp://", "ann:long-enough", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=3),
    max_leaves=6,
)
DEFINITIONS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


def built(body: object, *, is_endpoint: bool = False) -> TunnelConfig | None:
    """The tunnel that a body makes, None for a refusal."""
    try:
        definition = define(parse_json(json.dumps(body).encode()), is_endpoint=is_endpoint)
        return build_tunnel(definition, {})
    except DefinitionInvalid:
        return None


@given(DEFINITIONS, st.booleans(), st.booleans())
def test_any_definition_is_a_tunnel_or_a_refusal(body, is_endpoint, is_whole):
    whole = {"name": "web", "addr": "80"} if is_whole else {}
    config = built(whole | body, is_endpoint=is_endpoint)
    assert config is None or config.name


@given(st.sampled_from(sorted(RESTRICTING)), VALUES)
def test_a_key_that_keeps_visitors_out_is_a_rule_or_a_refusal(key, value):
    config = built({"name": "web", "addr": "80", key: value})
    assert config is None or config.policy != PolicySpec() or value in (None, False, 0, "", "0", "false")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        assert isinstance(parse_json(data), dict)
