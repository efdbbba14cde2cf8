"""Who of a provider's users is let in (rows 19, 20 and 22 of the attack list at this level)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelrelay.policy.rules import Refusal, Rules, groups_of, verified_email

ACME = Rules(emails=frozenset({"bob@else.org"}), domains=frozenset({"good.com"}))


def claims(email: object, verified: object = True) -> dict[str, object]:
    return {"sub": "1", "email": email, "email_verified": verified}


def test_without_rules_every_user_of_the_provider_is_let_in():
    assert Rules().admits({"sub": "1"}) is True


def test_a_refusal_is_false_so_that_a_careless_if_cannot_let_anyone_in():
    assert not Refusal("email")


@pytest.mark.parametrize("email", ["a@good.com", "A@GOOD.com", "bob@else.org", "Bob@Else.org"])
def test_addresses_and_domains_are_compared_without_case(email):
    assert ACME.admits(claims(email)) is True


@pytest.mark.parametrize(
    "email",
    [
        "alice@good.com@evil.com",
        '"a@good.com "@evil',
        "a@good.com\x00",
        "a@good.com\n",
        "a@sub.good.com",
        "a@xgood.com",
        "a@g\u043e\u043ed.com",
        "a@good.com.",
        "a@good\uff0ecom",
        "@good.com",
        "a b@good.com",
        "good.com",
        "",
        None,
        ["a@good.com"],
        "a" * 250 + "@good.com",
    ],
)
def test_row_19_an_address_that_only_looks_right_is_refused(email):
    assert not ACME.admits(claims(email))


@pytest.mark.parametrize("verified", [False, None, "true", "false", 1, "1", [True]])
def test_row_20_an_address_the_provider_does_not_vouch_for_is_refused(verified):
    assert ACME.admits(claims("a@good.com", verified)) == Refusal("email_unverified")


def test_row_20_a_missing_email_verified_claim_counts_as_not_verified():
    assert not ACME.admits({"email": "a@good.com"})


def test_every_kind_of_rule_that_is_used_must_match():
    rules = Rules(domains=frozenset({"good.com"}), groups=frozenset({"ops", "dev"}), claims=frozenset({("hd", "x")}))
    whole = {**claims("a@good.com"), "groups": ["dev"], "hd": "x"}
    assert rules.admits(whole) is True
    assert rules.admits({**whole, "email": "a@evil.com"}) == Refusal("email")
    assert rules.admits({**whole, "groups": ["sales"]}) == Refusal("group")
    assert rules.admits({**whole, "hd": "y"}) == Refusal("claim")


@pytest.mark.parametrize(
    "groups",
    [None, "admins,ops", ["admins", 7], {"ops": 1}, [["ops"]], "OPS", 7],
)
def test_groups_that_are_not_a_list_of_strings_are_none(groups):
    assert not Rules(groups=frozenset({"ops"})).admits({"groups": groups})


def test_a_single_string_is_one_group_and_never_split():
    assert groups_of({"groups": "a,admins"}) == ("a,admins",)


def test_groups_the_provider_only_points_to_are_no_groups():
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph"}}}
    assert not Rules(groups=frozenset({"ops"})).admits(overage)


@pytest.mark.parametrize(
    ("claim", "value"),
    [("x", "x"), (["a", "x"], "x"), (True, "true"), (False, "false"), (7, "7")],
)
def test_a_claim_matches_as_text_or_as_an_element_of_a_list(claim, value):
    assert Rules(claims=frozenset({("c", value)})).admits({"c": claim}) is True


@pytest.mark.parametrize("claim", [None, {"x": "x"}, [["x"]], "xx", "X", 1.0, ""])
def test_a_claim_of_another_shape_does_not_match(claim):
    assert not Rules(claims=frozenset({("c", "x")})).admits({"c": claim})


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["email", "email_verified", "groups", "c"]), json))
def test_whatever_the_claims_hold_the_answer_is_yes_or_a_refusal(anything):
    rules = Rules(domains=frozenset({"good.com"}), groups=frozenset({"g"}), claims=frozenset({("c", "v")}))
    verdict = rules.admits(anything)
    assert verdict is True or isinstance(verdict, Refusal)


@given(json)
def test_a_verified_address_is_always_plain_lower_case_ascii_with_one_at(email):
    address = verified_email({"email": email, "email_verified": True})
    assert address == "" or (address.isascii() and address == address.lower() and address.count("@") == 1)
