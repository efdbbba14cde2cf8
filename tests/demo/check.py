"""The demo's own proof: the page comes through after a login and not before."""

from collections.abc import Iterator

from tests.demo.app import SECRET
from tests.support.visitor import NAVIGATION, Visitor


def check(url: str) -> Iterator[str]:
    """Claims about the running demo, each given once it has been seen to hold.

    Raises:
        AssertionError: One does not hold.
    """
    with Visitor() as program:
        answer = program.get(url)
        assert answer.status_code == 401, f"a program without a login got {answer.status_code}, not 401"
        assert SECRET not in answer.text, "the app's page came through without a login"
    yield "without a login a program gets 401 and not a byte of the app"

    with Visitor() as browser:
        answer = browser.get(url, headers=NAVIGATION)
        assert answer.status_code == 303, f"a browser without a login got {answer.status_code}, not 303"
        assert SECRET not in answer.text, "the app's page came through without a login"
    yield "without a login a browser is sent to the provider"

    with Visitor() as alice:
        page = alice.login(url, "alice")
        assert page.status_code == 200, f"after her login Alice got {page.status_code}:\n{page.text[:2000]}"
        assert SECRET in page.text, f"after her login Alice got another page:\n{page.text[:2000]}"
        assert "alice@example.com" in page.text, "the app was not told who she is"
        assert alice.get(url).status_code == 200, "her next request was not let in"
    yield "after her login Alice has the app's page, and the app knows her name"

    with Visitor() as mallory:
        page = mallory.login(url, "mallory")
        assert page.status_code == 403, f"after his login Mallory got {page.status_code}, not 403"
        assert SECRET not in page.text, "Mallory got the app's page"
    yield "Mallory can log in and still is not let in"
