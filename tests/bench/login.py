"""Measures what a live login session costs: a small request through an open tunnel, and through one with a login.

The login is a real one, at a local oidc-provider-mock, done by a minimal browser. Both tunnels are on one relay, and
their measurements alternate, so that other work on the machine affects both.
"""

import contextlib
import http.client
import statistics
from collections.abc import Iterator, Sequence
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tests.bench import loads, procs
from tests.bench.lab import READY_SECONDS, Lab, Session, Spent, open_session
from tests.bench.loads import LoadFailed, WrkResult
from tests.bench.peers import agent_command, door_of_name, program
from tests.bench.plan import Command, Door, Peer
from tests.bench.procs import Proc, free_port
from tests.bench.traffic import Window, request_figures

GUARDED = "guarded"
CLIENT, SECRET = "bench", "bench-secret"
PAIRS = 3
"""How often the two measurements alternate: the noise of a single pair would hide a difference of a tenth."""
MAX_STEPS = 12
"""Redirects and forms that a login may take from the first request to the page; a correct one takes about six."""
CONNECTIONS = 16
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def session_check(lab: Lab, peer: Peer, seconds: float) -> Window:
    """Measure CPU per ten thousand requests without a login and with a live session, and their ratio."""
    with provider(lab) as issuer, open_session(lab, peer, lab.files_port) as session:
        port = session.door.port
        extra = agent_command(port, lab.files_port, GUARDED, *guard_flags(issuer))
        guarded = door_of_name(port, GUARDED)
        session.clients.append(Proc(extra.words, session.folder / "guarded.log", extra.env))
        # The status of a request without a session shows that the tunnel is up and requires a login.
        procs.seconds_until_answer(port, guarded.host, loads.SMALL, READY_SECONDS, status=401)
        doors = [(session.door, ""), (guarded, log_in(guarded))]
        pairs = [side_by_side(session, doors, seconds) for _ in range(PAIRS)]
    plain, live = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    noise = max(window[1].noise for pair in pairs for window in pair)
    errors = sum(window[2] for pair in pairs for window in pair)
    return Window({"open": plain, "live": live, "times": live / plain}, errors, noise)


def guard_flags(issuer: str) -> tuple[str, ...]:
    """Return the agent's flags for a login at its tunnel."""
    return ("--oidc", issuer, "--oidc-client-id", CLIENT, "--oidc-client-secret", SECRET)


def side_by_side(
    session: Session, doors: Sequence[tuple[Door, str]], seconds: float
) -> tuple[tuple[float, Spent, int], ...]:
    """Measure one window at each door, one after the other.

    Args:
        doors: Doors, each with the value of the Cookie field to send; "" for none.

    Returns:
        For each door the CPU seconds per ten thousand requests, the cost of the window, and the failed requests.
    """
    windows = []
    for door, cookie in doors:
        words = ("-H", f"Cookie: {cookie}") if cookie else ()

        def action(door: Door = door, words: tuple[str, ...] = words) -> WrkResult:
            return loads.run_wrk(door, loads.SMALL, CONNECTIONS, seconds, *words)

        result, spent = session.measure(action)
        windows.append((request_figures(result, spent)["cpu"], spent, result.errors))
    return tuple(windows)


@contextlib.contextmanager
def provider(lab: Lab) -> Iterator[str]:
    """Context manager: the issuer of a running local OpenID provider."""
    port = free_port()
    log = lab.fresh_folder("provider") / "provider.log"
    command = Command((program("oidc-provider-mock"), "--host", "127.0.0.1", "--port", str(port)))
    proc = Proc(command.words, log)
    try:
        procs.wait_until_listening(port, READY_SECONDS, proc)
        yield f"http://127.0.0.1:{port}"
    finally:
        proc.stop()


def log_in(door: Door) -> str:
    """Log a visitor in at the provider. Returns the value of the Cookie field with the session of the door's host.

    Raises:
        LoadFailed: The login did not end at the page, or no session cookie was set.
    """
    jar: dict[str, dict[str, str]] = {}
    url, form = f"http://{door.host}{loads.SMALL}", ""
    for _ in range(MAX_STEPS):
        status, location, has_form = _visit(url, form, jar)
        if location:
            url, form = urljoin(url, location), ""
        elif has_form and not form:
            form = urlencode({"sub": "bench@example.com"})
        elif status == 200 and jar.get(urlsplit(url).netloc) and urlsplit(url).netloc == door.host:
            return "; ".join(f"{name}={value}" for name, value in jar[door.host].items())
        else:
            raise LoadFailed(f"the login stopped at {url.partition('?')[0]} with status {status}")
    raise LoadFailed(f"the login took more than {MAX_STEPS} steps")


def _visit(url: str, form: str, jar: dict[str, dict[str, str]]) -> tuple[int, str, bool]:
    """Send one request of a login. Returns its status, where it redirects to, and whether the page has a form.

    For names under .localhost the connection goes to 127.0.0.1, whatever the resolver says.
    """
    parts = urlsplit(url)
    cookies = jar.setdefault(parts.netloc, {})
    fields = {**NAVIGATION, "Host": parts.netloc}
    if cookies:
        fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if form:
        fields["Content-Type"] = "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=READY_SECONDS)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST" if form else "GET", target, form or None, fields)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    for line in response.headers.get_all("Set-Cookie", []):
        _keep_cookie(line, cookies)
    return response.status, response.headers.get("Location", ""), b"<form" in body


def _keep_cookie(line: str, cookies: dict[str, str]) -> None:
    for name, morsel in SimpleCookie(line).items():
        if morsel["max-age"] == "0" or not morsel.value:
            cookies.pop(name, None)
        else:
            cookies[name] = morsel.value
