"""Row 119: one canonical form of a name, and only names that are the relay's to give."""

import pytest

from tests.support.every import every
from tunnelctl.wire.messages import Bind
from tunnelrelay.address import RESERVED_LABELS, PublicAddress
from tunnelrelay.agents.host_names import RANDOM_LENGTH, NameRefused, choose_host, is_random, why_taken
from tunnelrelay.store.base import NameRow

ADDRESS = PublicAddress(scheme="https", domain="tun.example", port=443)

BAD_LABELS = [
    "", "*", "a.b", "A", "Demo", "-a", "a-", "_a", "_dmarc", "_tunnel", "a_b", "a b", "a\n", "\na", "a\r\nHost: evil",
    "a\x00", "a/b", "a:1", "a.", ".a", "x" * 64, "ünï", "xn--mnchen-3ya", "xn--demo", "ab--cd", "аpp", "a@b", "a%00",
    "１２", "²", "ﬁ", "a\u200d", "💥",
]  # fmt: skip


def ask(**where: str) -> str | NameRefused:
    return choose_host(Bind(tunnel=1, name="web", upstream="http://localhost:80", **where), ADDRESS)


@every("label", [*BAD_LABELS, *sorted(RESERVED_LABELS)])
def test_row119_a_label_that_is_none_or_reserved_is_refused_with_a_reason(label):
    for refused in (ask(subdomain=label), ask(host=f"{label}.tun.example")):
        assert isinstance(refused, NameRefused)
        assert len(refused.message) < 300
        assert "\n" not in refused.message


@pytest.mark.parametrize("label", ["a", "0", "demo", "a-b", "pr-1234", "x" * 63, "1-2-3"])
def test_a_plain_label_is_given_and_as_a_whole_host_too(label):
    assert ask(subdomain=label) == ask(host=f"{label}.tun.example") == f"{label}.tun.example"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "tun.example", "idp.tun.example", "a.b.tun.example", "demo.tun.example.", "DEMO.tun.example",
     "demo.TUN.example", "demo.tun.example:443", "demotun.example", "demo.tun.example.evil", "demo.evil.example",
     "127.0.0.1", "", ".tun.example", "*.tun.example", "demo.tun.example\n"],
)  # fmt: skip
def test_row119_a_host_that_is_not_one_name_below_the_domain_is_refused(host):
    assert isinstance(ask(host=host), NameRefused)


def test_two_wishes_at_once_are_refused():
    assert isinstance(ask(subdomain="a", host="a.tun.example"), NameRefused)


def test_names_nobody_chose_are_long_never_the_same_and_can_be_asked_for_again():
    hosts = {ask() for _ in range(100)}

    assert len(hosts) == 100
    for host in hosts:
        assert isinstance(host, str)
        assert len(host.partition(".")[0]) == RANDOM_LENGTH
        assert ask(host=host) == host
        assert is_random(host.partition(".")[0])


@pytest.mark.parametrize(
    "label", ["documentation2", "internationals", "demo", "a" * 13 + "2", "preview-branch", "x" * 12 + "89"]
)
def test_a_name_that_somebody_chose_is_not_taken_for_one_that_nobody_did(label):
    assert not is_random(label)


def row(**more: object) -> NameRow:
    return NameRow(host="demo.tun.example", owner="ann", at=1e9, **more)


def test_who_asks_for_anothers_name_hears_until_when_it_is_kept_and_what_to_do():
    held, _ = why_taken(row(), 2e9)
    cooling, hint = why_taken(row(released_at=1e9), 1_800_000_000.0)

    assert held == "demo.tun.example belongs to another owner on this relay"
    assert "until 2027-01-15 08:00 UTC" in cooling
    assert "--subdomain" in hint
    assert "tunnelrelay name release demo.tun.example" in hint
