"""Whose cookie counts (rows 65-67, 70, 71)."""

import pytest

from tests.oidc.world import APP, Browser, World
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.policy import cookies

JAR = CookieJar(is_secure=True)
GOOD = b"G" * 43
FAKES = [
    b"\xa0__Host-tunnel=EVIL",
    b"\x85__Host-tunnel=EVIL",
    b"\xc2\xa0__Host-tunnel=EVIL",
    b"__Host-tunnel\xa0=EVIL",
    b"=__Host-tunnel=EVIL",
    b"$Version=1",
    b"\x0b__Host-tunnel=EVIL",
    b"\x0c__Host-tunnel=EVIL",
    b"__Host-Tunnel=EVIL",
    b"__host-tunnel=EVIL",
    b"__Host-tunnel\x00=EVIL",
    b'x="',
    b"tunnel=EVIL",
    b"__Host-tunnel-tx=EVIL",
    b"__Host-tunnel EVIL",
    b"a=__Host-tunnel=EVIL",
]


@pytest.mark.parametrize("fake", FAKES)
def test_row_65_a_cookie_that_only_looks_like_ours_is_not_read(fake: bytes) -> None:
    assert JAR.session_in([fake]) is None
    assert JAR.session_in([fake + b"; __Host-tunnel=" + GOOD]) == GOOD
    assert JAR.session_in([b"__Host-tunnel=" + GOOD + b"; " + fake]) == GOOD


@pytest.mark.parametrize(
    "values",
    [
        [b"__Host-tunnel=A; __Host-tunnel=B"],
        [b"__Host-tunnel=A", b"__Host-tunnel=B"],
        [b"__Host-tunnel=A;__Host-tunnel=A"],
        [b"__Host-tunnel="],
        [b"__Host-tunnel"],
        [b'__Host-tunnel="A"'],
        [b"__Host-tunnel=A B"],
        [b"__Host-tunnel=A,B"],
        [b"__Host-tunnel=\xff"],
    ],
)
def test_row_66_two_of_our_cookies_are_none_and_so_is_a_spoilt_one(values: list[bytes]) -> None:
    assert JAR.session_in(values) is None


def test_row_66_a_login_cookie_that_stands_there_twice_is_none() -> None:
    values = [b"__Host-tunnel-tx-aa=1; __Host-tunnel-tx-bb=2; __Host-tunnel-tx-aa=3"]
    assert JAR.transactions_in(values) == [(b"__Host-tunnel-tx-bb", "2")]


def test_thousands_of_login_cookies_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    class Name(bytes):
        compared = 0
        __hash__ = bytes.__hash__

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return super().__eq__(other)

    found = [(Name(b"__Host-tunnel-tx-%x" % number), b"v") for number in range(3000)]
    monkeypatch.setattr(cookies, "with_prefix", lambda values, prefix: found)
    assert len(JAR.transactions_in([])) == 3000
    assert Name.compared < 10 * 3000


@pytest.mark.parametrize("value", [b'x="; __Host-tunnel=G; y="', b"a=1, __Host-tunnel=G; b=2"])
def test_row_67_quotes_and_commas_group_nothing(value: bytes) -> None:
    assert JAR.session_in([value]) == (b"G" if b'"' in value else None)
    assert b"__Host-tunnel" not in cookies.strip(value)


async def test_row_71_no_cookie_of_a_login_or_a_session_reaches_an_upstream() -> None:
    world = World()
    browser = Browser(world)
    await browser.start()
    await browser.sign_in()
    await browser.start()
    (sent,) = browser.cookies()
    assert cookies.strip(b"theme=dark; " + sent + b"; lang=en") == b"theme=dark; lang=en"


@pytest.mark.parametrize("is_secure", [True, False])
def test_row_70_an_upstream_cannot_set_what_we_set(is_secure: bool) -> None:
    jar = CookieJar(is_secure)
    for name in (jar.session, jar.transaction_name("abcdef0123")):
        assert cookies.is_ours(name)
        assert cookies.admit_set_cookie(jar.set(name, b"x"), APP.encode()) is None
