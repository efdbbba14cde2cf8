"""What a tunnel says of itself."""

import pytest

from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.wire.messages import PolicySpec


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"policy": PolicySpec(basic_auth=("ann:pw",))}, "everyone who knows the password of ann"),
        ({"edge": "shop"}, "whom the rules of the edge shop let in; they are kept at the relay"),
        ({"labels": (("edge", "edghts_1"),)}, "whom each edge's rules let in; they are kept at the relay"),
    ],
)
def test_who_may_visit_an_edge_is_the_edges_to_say(asked, words):
    assert TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80), **asked).who_may_visit == words
