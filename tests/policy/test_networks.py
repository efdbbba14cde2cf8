"""A set of networks says of every address what the networks say one by one."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelrelay.policy.networks import Network, Networks

V4 = st.builds(
    lambda number, bits: IPv4Network((number, bits), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
V6 = st.builds(
    lambda number, bits: IPv6Network((number, bits), strict=False), st.integers(0, 2**128 - 1), st.integers(0, 128)
)


def near(network: Network) -> list[int]:
    """Numbers of the addresses at and just beyond the borders of a network."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return [number for number in (first - 1, first, last, last + 1) if 0 <= number < 2**network.max_prefixlen]


@given(st.lists(V4 | V6, max_size=12), st.data())
def test_an_address_is_in_the_set_when_it_is_in_one_of_the_networks(networks, data):
    made = Networks(networks)
    v4 = st.integers(0, 2**32 - 1) | st.sampled_from(
        [0, *(n for each in networks if each.version == 4 for n in near(each))]
    )
    v6 = st.integers(0, 2**128 - 1) | st.sampled_from(
        [0, *(n for each in networks if each.version == 6 for n in near(each))]
    )
    for address in (IPv4Address(data.draw(v4)), IPv6Address(data.draw(v6))):
        assert (address in made) == any(address in network for network in networks)


@pytest.mark.parametrize("address", ["0.0.0.0", "255.255.255.255", "::", "fe80::1%eth0"])
def test_an_empty_set_holds_no_address(address):
    assert ip_address(address) not in Networks()
    assert not Networks()


def test_a_set_is_listed_as_it_was_given():
    listed = (ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))

    assert tuple(Networks(listed)) == listed
    assert len(Networks(listed)) == 3
    assert Networks(listed) == Networks(listed) != Networks(listed[:2])


def test_all_addresses_of_one_family_say_nothing_of_the_other():
    everywhere = Networks((ip_network("0.0.0.0/0"),))

    assert ip_address("203.0.113.9") in everywhere
    assert ip_address("2001:db8::1") not in everywhere
