"""What kind of request a visitor sent."""

import pytest

from tests.policy.making import NAVIGATE, head
from tests.support.every import every
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.classify import classify, starts_login, wants_html

OLD = {"Accept": "text/html,application/xhtml+xml"}


def test_a_navigation_of_a_browser_may_start_a_login():
    assert classify(head(fields=NAVIGATE)) is RequestKind.NAVIGATION


SAFARI = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Safari/605.1.15",
}
"""Over plain http, where it sends no Fetch Metadata."""
MOZILLA = SAFARI["User-Agent"]
HTML = SAFARI["Accept"]
PROGRAMS = {
    "Java": {"User-Agent": "Java/17.0.15", "Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"},
    "curl": {"User-Agent": "curl/8.5.0", "Accept": "text/html"},
    "curl that copies a browser's Accept": {"User-Agent": "curl/8.5.0", "Accept": HTML, "Accept-Language": "en"},
    "wget": {"User-Agent": "Wget/1.21.3", "Accept": "text/html", "Accept-Encoding": "identity"},
    "python-requests": {"User-Agent": "python-requests/2.32.3", "Accept": HTML},
    "Go": {"User-Agent": "Go-http-client/1.1", "Accept": "text/html"},
    "lynx": {"User-Agent": "Lynx/2.9.0 libwww-FM/2.14", "Accept": "text/html, text/plain, */*;q=0.01"},
    "Slack": {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Accept": HTML},
    "Google": {
        "User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Accept": HTML,
    },
    "Discord": {"User-Agent": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Accept": HTML},
    "iMessage": {
        "User-Agent": MOZILLA + " facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "Accept": HTML,
        "Accept-Language": "en",
    },
    "a crawler on a phone": {
        "User-Agent": "Mozilla/5.0 (Linux; Android 6.0.1) Mobile Safari (compatible; bingbot/2.0)"
    },
    "Java that calls itself a browser": {"User-Agent": "Mozilla/5.0", "Accept": "text/html, image/gif, *; q=.2"},
    "Java that copies an agent": {"User-Agent": MOZILLA, "Accept": "text/html, image/gif, image/jpeg, *; q=.2"},
    "curl that copies an agent": {"User-Agent": MOZILLA, "Accept": "text/html"},
    "an Accept that names XHTML elsewhere": {"Accept": "application/xml,application/xhtml+xml,text/html;q=0.9"},
    "Teams": {"User-Agent": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "Accept": HTML},
    "WhatsApp": {"User-Agent": "WhatsApp/2.23.20.0", "Accept": HTML},
    "Telegram": {"User-Agent": "TelegramBot (like TwitterBot)", "Accept": HTML},
    "LinkedIn": {
        "User-Agent": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "Accept": HTML,
    },
    "a scanner of mail": {"User-Agent": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1)", "Accept": HTML},
}

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
BROWSERS = {
    "Chrome 140": ({"User-Agent": CHROME.format(140), **NAVIGATE}, True, True),
    "Chrome 76, the first to mark navigations": (
        {"User-Agent": CHROME.format(76), "Accept": HTML, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        True,
        True,
    ),
    "Chrome 70": ({"User-Agent": CHROME.format(70)}, True, False),
    "Firefox 140": ({"User-Agent": FIREFOX.format(140), **NAVIGATE}, True, True),
    "Firefox 78": ({"User-Agent": FIREFOX.format(78)}, True, False),
    "Safari 17 over plain http": ({}, True, False),
    "Safari 17 over https": (NAVIGATE, True, True),
    "Safari on an iPhone": (
        {
            "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
            "Gecko) Version/15.0 Mobile/15E148 Safari/604.1"
        },
        True,
        False,
    ),
    "Internet Explorer 11": (
        {
            "User-Agent": "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "Accept": "text/html, application/xhtml+xml, */*",
            "Upgrade-Insecure-Requests": "",
        },
        False,
        False,
    ),
}
"""What differs from `SAFARI`, and whether a login starts over plain http and over https."""


@every("browser", BROWSERS)
def test_a_browser_that_opens_a_page_is_sent_to_the_login_as_far_as_its_age_allows(browser: str):
    fields, over_http, over_https = BROWSERS[browser]
    request = head(fields=SAFARI | fields)

    assert classify(request) is RequestKind.NAVIGATION
    assert (starts_login(request, is_secure=False), starts_login(request, is_secure=True)) == (over_http, over_https)


def test_the_fetch_of_node_is_a_script_and_starts_no_login():
    fields = {"Sec-Fetch-Mode": "cors", "Accept": "text/html,application/xhtml+xml", "User-Agent": "node"}

    assert classify(head(fields=fields)) is RequestKind.OTHER


def test_a_page_load_without_fetch_metadata_starts_a_login_over_plain_http_only():
    request = head(fields=SAFARI)
    assert classify(request) is RequestKind.NAVIGATION
    assert starts_login(request, is_secure=False)
    assert not starts_login(request, is_secure=True)


@pytest.mark.parametrize("missing", SAFARI)
def test_what_lacks_anything_that_browsers_send_starts_none(missing: str):
    request = head(fields={name: value for name, value in SAFARI.items() if name != missing})
    assert not starts_login(request, is_secure=False)


@pytest.mark.parametrize("is_secure", [True, False])
def test_a_marked_navigation_starts_one_everywhere(is_secure: bool):
    assert starts_login(head(fields=NAVIGATE), is_secure=is_secure)


@every("program", PROGRAMS)
@every("is_secure", [True, False])
def test_a_program_that_asks_for_html_starts_no_login(program: str, is_secure: bool):
    """Rows 46 and 56."""
    request = head(fields={"Accept": HTML} | PROGRAMS[program])
    assert not starts_login(request, is_secure=is_secure)
    assert not starts_login(head(fields=SAFARI | PROGRAMS[program]), is_secure=is_secure)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Accept": "*/*"},
        {"Accept": "application/json"},
        {**OLD, "X-Requested-With": "XMLHttpRequest"},
        {**OLD, "Range": "bytes=0-1"},
        {**OLD, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", **OLD},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "websocket"},
        {"Sec-Fetch-Mode": "navigate, cors", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Mode": ""},
    ],
)
def test_whatever_is_no_navigation_never_starts_a_login(fields):
    assert classify(head(fields=fields)) is RequestKind.OTHER


PASSED_ON = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "empty"}


@pytest.mark.parametrize(
    ("site", "visit"),
    [
        ("same-origin", RequestKind.NAVIGATION),
        ("none", RequestKind.NAVIGATION),
        ("same-site", RequestKind.PASSED_ON),
        ("cross-site", RequestKind.PASSED_ON),
        ("", RequestKind.PASSED_ON),
        (None, RequestKind.PASSED_ON),
    ],
)
def test_a_page_load_that_an_apps_own_worker_passes_on_may_start_a_login_when_the_app_began_it(site, visit):
    """Row 57."""
    request = head(fields=PASSED_ON if site is None else {**PASSED_ON, "Sec-Fetch-Site": site})
    assert classify(request) is visit


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("fields", [NAVIGATE, OLD])
def test_a_page_opened_by_sending_something_is_a_form(method, fields):
    """Row 48."""
    assert classify(head(method, fields=fields)) is RequestKind.FORM


@pytest.mark.parametrize("fields", [NAVIGATE, OLD])
def test_head_is_answered_like_a_script(fields):
    assert classify(head("HEAD", fields=fields)) is RequestKind.OTHER


@pytest.mark.parametrize(
    "purpose",
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Moz", "Prefetch"),
    ],
)
def test_a_prefetch_is_told_from_a_navigation(purpose):
    """Row 56."""
    assert classify(head(fields=[*NAVIGATE.items(), purpose])) is RequestKind.PREFETCH


@pytest.mark.parametrize("agent", ["Slackbot-LinkExpanding 1.0", "facebookexternalhit/1.1", "curl/8.5.0"])
def test_a_link_preview_does_not_start_a_login(agent):
    """Row 56."""
    assert classify(head(fields={"User-Agent": agent, "Accept": "*/*"})) is RequestKind.OTHER


@pytest.mark.parametrize("dest", ["iframe", "frame", "embed", "object", "fencedframe"])
def test_a_frame_never_starts_a_login(dest):
    """Row 57."""
    assert classify(head(fields={**NAVIGATE, "Sec-Fetch-Dest": dest})) is RequestKind.FRAME


def test_an_upgrade_is_one_whatever_else_it_says():
    request = head(fields={"Connection": "Upgrade", "Upgrade": "websocket", **NAVIGATE})
    assert classify(request) is RequestKind.UPGRADE


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (NAVIGATE, True),
        (OLD, True),
        ({"Sec-Fetch-Mode": "cors", **OLD}, False),
        ({**OLD, "X-Requested-With": "fetch"}, False),
        ({"Accept": "*/*"}, False),
        ({}, False),
    ],
)
def test_a_page_goes_to_people_and_json_to_programs(fields, expected):
    assert wants_html(head(fields=fields)) is expected
