"""Logins that the provider ends with an error: whose words are shown, where, and to whom."""

from tests.oidc.world import (
    Browser,
    World,
    code_of,
    sent_to,
    text_of,
)


async def test_a_providers_words_are_shown_as_text_on_the_endpoints_host_only() -> None:
    """Row 45."""
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    words = "<script>alert(1)</script>\r\nSet-Cookie: a=b " + "x" * 50_000
    params = [
        ("error", "server_error"),
        ("error_description", words),
        ("error_uri", "javascript:alert(1)"),
        ("state", state),
    ]
    handed = await browser.callback(params)
    assert handed.body == b""
    page = await browser.finish(handed)
    assert code_of(page) == "provider_error"
    assert browser.outcomes == ["started", "failed"]
    assert "&lt;script&gt;" in text_of(page)
    assert "<script" not in text_of(page)
    assert "javascript:" not in text_of(page)
    assert "x" * 1000 not in text_of(page)


async def test_a_declined_login_is_a_page_that_says_whom_to_ask() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    handed = await browser.callback(
        [
            ("error", "access_denied"),
            ("error_description", "User is not assigned to the client application."),
            ("state", state),
        ]
    )
    page = await browser.finish(handed)
    assert (page.status, code_of(page)) == (403, "access_denied")
    assert browser.outcomes == ["started", "denied"]
    assert "User is not assigned to the client application." in text_of(page)
    assert "Grace Hopper" in text_of(page)
    assert world.provider.calls_to("/token") == []
