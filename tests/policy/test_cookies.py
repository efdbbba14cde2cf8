"""The relay's cookies among others (rows 65 to 73 at the level of bytes)."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunnelrelay.policy import cookies

HOST = b"app.tun.example"
NAME = cookies.SESSION


def test_our_cookie_is_found_among_others():
    assert cookies.one([b"a=1; __Host-tunnel=AbC_-.9; b=2"], NAME) == b"AbC_-.9"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\xa0__Host-tunnel=EVIL", id="row-65-nbsp-before"),
        pytest.param(b"\x85__Host-tunnel=EVIL", id="row-65-nel-before"),
        pytest.param(b"\xc2\xa0__Host-tunnel=EVIL", id="row-65-utf8-nbsp-before"),
        pytest.param(b"__Host-tunnel\xa0=EVIL", id="row-65-nbsp-after-name"),
        pytest.param(b"__Host-tunnel=EVIL\xa0", id="row-65-nbsp-after-value"),
        pytest.param(b"=__Host-tunnel=EVIL", id="row-65-nameless"),
        pytest.param(b"$Version=1, __Host-tunnel=EVIL", id="row-65-version"),
        pytest.param(b"\x0b__Host-tunnel=EVIL", id="row-65-vertical-tab"),
        pytest.param(b"__Host-tunnel =EVIL", id="row-65-space-before-equals"),
        pytest.param(b'__Host-tunnel="EVIL"', id="row-65-quoted"),
        pytest.param(b"__Host-tunnel=", id="row-65-empty"),
        pytest.param(b"__Host-tunnel", id="row-65-no-value"),
        pytest.param(b"__host-tunnel=EVIL", id="row-65-other-case"),
        pytest.param(b"__Host-tunnel=A; __Host-tunnel=B", id="row-66-twice"),
        pytest.param(b"__Host-tunnel=A; __Host-tunnel=A", id="row-66-twice-the-same"),
        pytest.param(b"__Host-tunnel=A; __Host-tunnel=\xff", id="row-66-good-and-bad"),
        pytest.param(b"x=1, __Host-tunnel=EVIL", id="row-67-comma-joined"),
    ],
)
def test_a_cookie_that_is_not_exactly_ours_is_none(value):
    assert cookies.one([value], NAME) is None


def test_row_66_the_same_name_in_two_fields_is_none_and_the_caller_can_see_why():
    values = [b"__Host-tunnel=A", b"b=1; __Host-tunnel=B"]
    assert cookies.one(values, NAME) is None
    assert cookies.hits(values, NAME) == [b"A", b"B"]


def test_row_67_quotes_do_not_hide_a_cookie_from_us():
    assert cookies.one([b'x="; __Host-tunnel=A; y="'], NAME) == b"A"


def test_row_65_spaces_and_tabs_around_a_pair_are_no_part_of_it():
    assert cookies.one([b"a=1;\t __Host-tunnel=A \t;b=2"], NAME) == b"A"


def test_the_cookies_of_logins_under_way_are_found_by_prefix():
    values = [b"__Host-tunnel-tx-0a=1; a=b", b"__Host-tunnel-tx-0b=2; \xa0__Host-tunnel-tx-0c=3"]
    assert cookies.with_prefix(values, cookies.TRANSACTION) == [
        (b"__Host-tunnel-tx-0a", b"1"),
        (b"__Host-tunnel-tx-0b", b"2"),
    ]


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"a=1; __Host-tunnel=S; b=2", b"a=1; b=2"),
        (b"__Host-tunnel=S; b=2", b"b=2"),
        (b"a=1; __Host-tunnel=S", b"a=1"),
        (b"__Host-tunnel=S", b""),
        (b"tunnel=S; tunnel-tx-ab=1; a=1", b"a=1"),
        (b"__Host-tunnel-tx-ab=1;a=1;__Host-tunnel-dash=2;b", b"a=1;b"),
        pytest.param(b'x="; __Host-tunnel=S; y="', b'x="; y="', id="row-67-sandwich"),
        pytest.param(b"x=1, __Host-tunnel=S; y=2", b"y=2", id="row-67-comma-joined"),
        pytest.param(b"x=1, tunnel=S; y=2", b"y=2", id="row-67-comma-joined-plain"),
        pytest.param(b"\xa0__Host-tunnel=S; \x85tunnel =S; y=2", b"y=2", id="row-65-junk-around"),
        pytest.param(b"=__Host-tunnel=S; y=2", b"y=2", id="row-65-nameless"),
        pytest.param(b"=tunnel=S; y=2", b"y=2", id="row-65-nameless-plain"),
        pytest.param(b"tunnel[0]=S; cart[0]=2", b"cart[0]=2", id="row-71-php-array"),
        pytest.param(b"..Host-tunnel=S; . Host-tunnel-tx-1=S; a.b=2", b"a.b=2", id="row-71-php-marks"),
        pytest.param(b"%5F_Host-tunnel=S; t%75nnel=S; %74unnel-tx-1=S; a%3db=2", b"a%3db=2", id="row-71-encoded"),
        pytest.param(b"pad=" + b"x" * 2000 + b"; t%75nnel=S", b"pad=" + b"x" * 2000, id="row-71-encoded-far-behind"),
        pytest.param(b'"tunnel"=S; y=2', b"y=2", id="row-71-quoted-name"),
        pytest.param(b";; a=1;;tunnel=S; b =2 ;", b";; a=1;; b =2 ;", id="odd-spacing"),
    ],
)
def test_row_71_ours_never_reach_an_upstream(value, left):
    assert cookies.strip(value) == left


@pytest.mark.parametrize(
    "value",
    [
        b"a=1; b=2",
        b"tunnels=1; mytunnel=2; x=tunnel",
        b'q="a, b"; sp = 1 ;; =x; flag',
        b"\xff\xfe=\x80; a=tunnel=1",
        b"",
        b"cart[1]=x; cart[2]=y; a:b=z",
        b";; ;a=1;;b =2 ; ",
        b'a b="c; d"; "q"=1; caf\xc3\xa9=\xe2\x98\x95; (x)@{y}=1',
        b"=nameless; flag; x=%3Dtunnel%3D; a%20b=1; tunnel_x=1; tunnel.x=2",
        b"long=" + b"x%20" * 600,
    ],
)
def test_cookies_of_the_app_are_left_as_they_were(value):
    assert cookies.strip(value) == value


pieces = st.lists(
    st.one_of(
        st.binary(max_size=12).filter(lambda piece: b";" not in piece),
        st.sampled_from([b"a=1", b" tunnel=S", b"__Host-tunnel=S", b"\xa0__Host-tunnel=E", b" tunnel-tx-1=x", b""]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("name", [b"my-tunnel-%d", b"%%74ab%d"])
def test_so_many_cookies_that_could_be_ours_are_taken_out_as_no_browser_sends(name):
    few = b"; ".join(name % number + b"=1" for number in range(cookies.MAX_DOUBTFUL))
    more = few + b"; " + name % cookies.MAX_DOUBTFUL + b"=1"

    assert cookies.strip(few + b"; a=b") == few + b"; a=b"
    assert cookies.strip(b"c[1]=d; " + more + b"; a=b; " + few) == b"c[1]=d; a=b"


@given(pieces)
@example([b"tunnel-" + b" " * 30_000])
def test_stripping_takes_whole_cookies_only_and_leaves_none_of_ours(parts):
    left = cookies.strip(b";".join(parts))
    assert cookies.strip(left) == left
    assert b"__Host-tunnel" not in left
    assert not cookies.hits([left], b"tunnel")
    assert not cookies.with_prefix([left], b"tunnel-tx-")
    kept = [part.strip(b" \t") for part in left.split(b";")] if left else []
    rest = iter(part.strip(b" \t") for part in parts)
    assert all(any(part == other for other in rest) for part in kept)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_reading_never_fails_and_gives_only_bytes_we_write(values):
    found = cookies.one(values, NAME)
    assert found is None or (
        found and not set(found) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"__Host-tunnel=x; Path=/; Secure", id="row-70-session"),
        pytest.param(b"__host-TUNNEL=x; Path=/; Secure", id="row-70-other-case"),
        pytest.param(b"__Host-tunnel-tx-abcd=x; Max-Age=0", id="row-70-transaction"),
        pytest.param(b"tunnel=x", id="row-70-plain"),
        pytest.param(b"tunnel-tx-1=x", id="row-70-plain-transaction"),
        pytest.param(b" \ttunnel\t =x", id="row-70-spaces"),
        pytest.param(b"\xa0__Host-tunnel=x; Domain=tun.example", id="row-65-nbsp-name"),
        pytest.param(b"=__Host-tunnel=x", id="row-65-nameless"),
        pytest.param(b"__Host-tunnel", id="row-65-no-equals"),
        pytest.param(b"; Domain=tun.example", id="row-65-empty"),
        pytest.param(b"tunnel[0]=x", id="row-70-php-array"),
        pytest.param(b"__Host-tunnel[a][b]=x", id="row-70-php-array-of-arrays"),
        pytest.param(b"..Host-tunnel=x", id="row-70-php-dots"),
        pytest.param(b"_[Host-tunnel-tx-1=x", id="row-70-php-bracket"),
        pytest.param(b" _ host-TUNNEL=x", id="row-70-php-blank"),
        pytest.param(b"%5F%5fHost-tunnel=x", id="row-70-encoded"),
        pytest.param(b"t%75nnel=x", id="row-70-encoded-plain"),
        pytest.param(b"=tunnel=x", id="row-70-nameless-plain"),
        pytest.param(b" = tunnel=x", id="row-70-nameless-spaced"),
        pytest.param(b"tunnel", id="row-70-nameless-flag"),
        pytest.param(b'"tunnel"=x', id="row-70-quoted-name"),
        pytest.param(b"a,tunnel=x", id="row-70-comma"),
        pytest.param(b"Tunnel-tx-1,x=1", id="row-70-comma-behind"),
        pytest.param(b'tunnel" =x', id="row-70-quote-and-blank"),
        pytest.param(b"=", id="row-70-nothing"),
        pytest.param(b"a=" + b"x" * 8_200, id="row-70-oversized"),
    ],
)
def test_row_70_an_upstream_cannot_set_these(value):
    assert cookies.admit_set_cookie(value, HOST) is None


@pytest.mark.parametrize(
    ("value", "admitted"),
    [
        (b"a=1; Domain=tun.example; Path=/; HttpOnly", b"a=1; Path=/; HttpOnly"),
        (b"a=1; domain=.TUN.example", b"a=1"),
        (b"a=1; Domain = tun.example ", b"a=1"),
        (b"a=1; \xa0Domain\x0b=tun.example", b"a=1"),
        (b"a=1; Domain=app.tun.example; Domain=tun.example", b"a=1; Domain=app.tun.example"),
        (b"a=1; Domain=localhost", b"a=1"),
        (b"a=1; Domain", b"a=1"),
        (b"a=1; Domain=evil-app.tun.example", b"a=1"),
    ],
)
def test_row_70_a_cookie_for_other_hosts_becomes_one_for_this_host(value, admitted):
    assert cookies.admit_set_cookie(value, HOST) == admitted


@pytest.mark.parametrize(
    "value",
    [
        b"a=1",
        b"sid=s%3Aabc; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; SameSite=Lax",
        b"__Host-sid=1; Path=/; Secure",
        b"a=1; Domain=app.tun.example",
        b"a=1; Domain=.App.Tun.Example",
        b"a=",
        b"a=b=c; Partitioned",
        b"cart[1]=x; Path=/",
        b"cart[a][b]=x",
        b"a:b=1",
        b"a b=1; Secure",
        b' "quoted name" =1',
        b"(x)@{y}=1",
        b"caf\xc3\xa9=1; HttpOnly",
        b"\x85a=x",
        b"=nameless; Path=/",
        b"flag; Path=/",
        b"a%20b=1",
        b"a=tunnel",
        b"tunnels=1",
        b"my.tunnel=1",
        b"tunnel.x=1",
        b"tunnel_x=1",
        b"a=1;;Path=/ ; ;",
        b"  a = 1 ;Path=/",
    ],
)
def test_a_cookie_of_the_app_is_passed_on_as_it_is(value):
    assert cookies.admit_set_cookie(value, HOST) == value


@given(st.binary(max_size=60))
@example(b"tunnel[" * 1_100)
@example(b"=" * 8_000)
@example(b"% " * 4_000)
def test_whatever_an_upstream_sets_is_no_name_of_ours_and_for_no_domain_above(value):
    admitted = cookies.admit_set_cookie(value, HOST)
    if admitted is not None:
        name, has_name, _ = admitted.partition(b";")[0].partition(b"=")
        assert not has_name or not name.strip(b" \t") or not cookies.is_ours(name.strip(b" \t"))
        assert cookies.strip(b"tunnel=S; " + admitted.partition(b";")[0]).find(b"tunnel=S") == -1
        assert cookies.admit_set_cookie(admitted, HOST) == admitted


@pytest.mark.parametrize("count", [b"999999999", b"-1", b"1e9", b"9" * 4000])
def test_row_82_a_cookie_that_claims_to_have_parts_is_one_cookie_and_no_number_is_read(count):
    parts = b"__Host-tunnel_count=" + count + b"; __Host-tunnel_0=a; __Host-tunnel_1=b; tunnel_tx_count=" + count

    assert cookies.one([parts], cookies.SESSION) is None
    assert cookies.with_prefix([parts], cookies.TRANSACTION) == []
    assert cookies.one([parts + b"; __Host-tunnel=" + b"G" * 43], cookies.SESSION) == b"G" * 43
