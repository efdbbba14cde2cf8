"""A whole life of a relay with a canary in every secret, and then a look at every place where none may be found."""

import base64
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from tests.support import processes
from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.canaries import Canaries
from tests.support.canary_provider import CanaryProvider, canary_provider
from tests.support.idp import CLIENT_ID
from tests.support.processes import Child
from tests.support.stack import Stack, Tunnel, until
from tests.support.visitor import NAVIGATION, Visitor
from tests.support.waiting import PATIENCE

KEY_FILES = {"keys.json", "assertion.json"}
"""What may hold secrets: keys of the relay itself."""

EVERY_SECRET = {
    "client secret", "authtoken", "unknown authtoken", "password", "mistyped password", "session cookie",
    "login cookie", "state", "code", "code verifier", "hand-off", "ID token", "access token", "refresh token",
    "assertion", "bearer token", "broken bearer token", "app cookie", "app authorization", "query", "body", "key",
    "address",
}  # fmt: skip
"""A run that has not met all of them shows nothing."""

BACK_TO_IT = {("address", "answer 400 /_tunnel/oidc/cb")}
"""The one secret that comes back, and where: who follows the hand-off of a login is led to the address it is for, as a
browser that has lost the login's cookie would be."""


class DemandingStack(Stack):
    """A relay that others could reach: it asks agents for tokens. It still may use a provider on this machine."""

    def start_relay(self) -> None:
        self.flags = [flag for flag in self.flags if not flag.startswith("--http=")] + [f"--http=0.0.0.0:{self.port}"]
        super().start_relay()


class Run:
    """One relay's life.

    Attributes:
        places: Where no canary may be found, by name.
    """

    def __init__(self, folder: Path, idp: CanaryProvider, canaries: Canaries) -> None:
        self.folder = folder
        self.idp = idp
        self.canaries = canaries
        self.places: dict[str, bytes] = {}
        self.authtoken = self._new_token()
        self.stack = DemandingStack(folder / "data", ["--log-level=debug"])
        self.visitor = Visitor()
        self.visitor.client.event_hooks["response"] = [self._note]

    # What is done

    def agent(
        self, name: str, upstream: int, *flags: str, env: dict[str, str] | None = None, form: str = "json"
    ) -> Child:
        """An agent at the chattiest level; its tunnel answers."""
        child = processes.python(
            name, "tunnelctl", "http", str(upstream), f"--relay=http://127.0.0.1:{self.stack.port}", "--log=stdout",
            f"--log-format={form}", "--log-level=debug", f"--subdomain={name}", *flags, env=env, anew=True,
        )  # fmt: skip
        self.stack.children.append(child)
        return child

    def guarded(self, app: App) -> Tunnel:
        """A tunnel with a login, a refresh every second and programs; its secrets come by file and variable."""
        token_file = self.folder / "authtoken"
        token_file.write_text(self.authtoken)
        child = self.agent(
            "demo", app.port, f"--oidc={self.idp.issuer}", f"--oidc-client-id={CLIENT_ID}", "--oidc-bearer",
            "--oidc-client-secret=env:DEMO_SECRET", f"--authtoken=file:{token_file}", "--oidc-scope=offline_access",
            "--oidc-userinfo-refresh-interval=1s", env={"DEMO_SECRET": self.canaries.plant("client secret")},
        )  # fmt: skip
        return Tunnel(child, str(child.wait_for_record("started tunnel")["url"]))

    def log_in_and_use(self, tunnel: Tunnel) -> None:
        """A login, then requests that carry the app's own secrets."""
        assert SECRET in self.visitor.navigate(f"{tunnel.url}/?q={self.canaries.plant('address')}").text
        fields = {"Authorization": f"Custom {self.canaries.plant('app authorization')}"}
        self.visitor.client.cookies.set("app", self.canaries.plant("app cookie"), domain=tunnel.host)
        echoed = self.visitor.get(f"{tunnel.url}/echo?token={self.canaries.plant('query')}", headers=fields)
        seen = dict(echoed.json()["fields"])
        assert seen["authorization"] == fields["Authorization"]
        self.canaries.collect("assertion", seen["x-tunnel-assertion"])
        self.visitor.client.post(f"{tunnel.url}/upload", content=self.canaries.plant("body"))

    def refresh(self, tunnel: Tunnel) -> None:
        """Visits until the relay has asked the provider again, and noted it."""
        until(lambda: self.visitor.get(tunnel.url) and "refresh_token" in self.idp.grants, "a refresh")
        self.stack.relay.wait_for(lambda line: "session.refresh" in line)

    def show_tokens(self, tunnel: Tunnel) -> None:
        """A program with a good token, and one with a broken one."""
        good = self.canaries.collect("bearer token", self.idp.sign(CLIENT_ID))
        broken = self.canaries.collect("broken bearer token", f"{good[:-40]}{self.canaries.plant('bearer token')}")
        with Visitor() as program:
            program.client.event_hooks["response"] = [self._note]
            assert program.get(tunnel.url, headers={"Authorization": f"Bearer {good}"}).status_code == 200
            assert program.get(tunnel.url, headers={"Authorization": f"Bearer {broken}"}).status_code == 401

    def meet_errors(self, tunnel: Tunnel) -> None:
        """Pages that go wrong while they hold a secret in their address."""
        handoff = next(url for url in self.visitor.went if "/_tunnel/oidc/cb?h=" in url)
        with Visitor() as stranger:
            stranger.client.event_hooks["response"] = [self._note]
            assert stranger.navigate(handoff).status_code >= 400
            callback = next(url for url in self.visitor.went if "/oauth2/callback?" in url)
            assert stranger.navigate(f"{callback}&code={self.canaries.plant('code')}").status_code >= 400
            assert stranger.navigate(f"{callback[:-9]}").status_code >= 400
            self.idp.refuses = True
            assert stranger.navigate(tunnel.url).status_code >= 400
            self.idp.refuses = False
            oversized = {"Cookie": f"a={self.canaries.plant('app cookie')}{'x' * 40_000}"}
            assert stranger.get(tunnel.url, headers=oversized).status_code >= 400
        answer = self.visitor.get(f"{tunnel.url}/?q={self.canaries.plant('query')}", headers={"Range": "\x7f"})
        assert answer.status_code == 400

    def use_password(self, app: App) -> Child:
        """A tunnel behind a password, whose service then goes away; its log is in the other form."""
        password = self.canaries.plant("password")
        pair_file = self.folder / "pair"
        pair_file.write_text(f"user:{password}\n")
        child = self.agent(
            "basic",
            app.port,
            f"--basic-auth=file:{pair_file}",
            env={"TUNNELCTL_AUTHTOKEN": self.authtoken},
            form="logfmt",
        )
        child.wait_for(lambda line: "started tunnel" in line)
        url = f"http://basic.localhost:{self.stack.port}"
        with Visitor() as visitor:
            visitor.client.event_hooks["response"] = [self._note]
            mistyped = self.canaries.plant("mistyped password")
            assert visitor.get(url, auth=("user", mistyped)).status_code == 401
            assert visitor.get(url, auth=("user", password)).status_code == 200
        return child

    def come_back(self, tunnel: Tunnel) -> None:
        """The relay is killed; after it, another one with the other form of log."""
        mark = len(tunnel.child.lines)
        self.stack.relay.kill()
        self.stack.flags.append("--log-format=text")
        self.stack.start_relay()
        tunnel.child.wait_for_record("started tunnel", after=mark)
        assert SECRET in self.visitor.get(tunnel.url, headers=NAVIGATION).text

    def log_out(self, tunnel: Tunnel) -> None:
        """With the provider's own logout."""
        asked = self.visitor.navigate(f"{tunnel.url}/_tunnel/logout")
        done = self.visitor.submit(asked, everywhere="1")
        assert "/_tunnel/signed-out" in str(done.request.url)
        assert self.visitor.get(tunnel.url).status_code == 401

    def knock_with_unknown_token(self, app: App) -> None:
        """An agent that is refused."""
        unknown = self.canaries.collect("unknown authtoken", f"tt_{self.canaries.plant('authtoken')}{'0k1' * 5}0k")
        child = self.agent("knock", app.port, env={"TUNNELCTL_AUTHTOKEN": unknown})
        assert child.wait() == 3

    def use_commands(self) -> None:
        """Every command that looks at what a relay keeps, and the revocation that ends the agents."""
        self._command("keys", "list")
        self._command("keys", "rotate", "--json")
        self._command("keys", "list", "--json")
        self._command("audit", "list", "--limit=1000")
        self._command("audit", "list", "--json", "--limit=1000")
        self._command("token", "list")
        (token,) = json.loads("\n".join(self._command("token", "list", "--json").out))
        self._command("token", "revoke", token["id"])

    # What is looked at

    def look(self) -> None:
        """Metrics, health and the processes' arguments, now."""
        mark = len(self.places)
        for path in ("metrics", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.stack.admin_port}/{path}", timeout=PATIENCE) as answer:
                self.places[f"{path} {mark}"] = answer.read()
        for child in self.stack.children:
            if child.returncode is None:
                self.places[f"arguments of {child.name} {mark}"] = Path(f"/proc/{child.pid}/cmdline").read_bytes()

    def finish(self) -> None:
        """Ends everything; then the logs and the data directory are places too."""
        self.visitor.client.close()
        self.stack.stop()
        for number, child in enumerate(self.stack.children):
            self.places[f"log of {child.name} {number}"] = "\n".join(child.lines).encode()
        for path in (self.folder / "data").rglob("*"):
            if path.is_file() and path.name not in KEY_FILES:
                self.places[f"file {path.name}"] = path.read_bytes()
        self._collect_keys()

    def _note(self, response: httpx.Response) -> None:
        """Every answer: what it sets is collected, and what the relay itself wrote is a place."""
        for value in response.headers.get_list("set-cookie"):
            name, _, rest = value.partition("=")
            content = rest.partition(";")[0]
            if "tunnel" in name and content:
                self.canaries.collect("login cookie" if "-tx-" in name else "session cookie", content)
        for handoff in parse_qs(urlsplit(response.headers.get("location", "")).query).get("h", []):
            self.canaries.collect("hand-off", handoff)
        url = response.request.url
        is_relays = not str(url).startswith(self.idp.issuer) and response.status_code != 200
        if is_relays or url.path.startswith("/_tunnel/"):
            response.read()
            self.places[f"answer {len(self.places)} {response.status_code} {url.path}"] = response.content

    def _new_token(self) -> str:
        child = processes.run("tunnelrelay", "token", "create", "--owner=ann", f"--data-dir={self.folder / 'data'}")
        assert child.returncode == 0, child.output
        self.places["talk of token create"] = "\n".join(child.err).encode()
        return self.canaries.collect("authtoken", child.out[0])

    def _command(self, *words: str) -> Child:
        child = processes.run("tunnelrelay", *words, f"--data-dir={self.folder / 'data'}")
        assert child.returncode == 0, child.output
        self.places[f"output of {' '.join(words)}"] = "\n".join(child.lines).encode()
        return child

    def _collect_keys(self) -> None:
        """The relay's own keys are secrets like all others, wherever but in their files."""
        ring = json.loads((self.folder / "data" / "keys.json").read_bytes())
        signing = json.loads((self.folder / "data" / "assertion.json").read_bytes())
        found = [
            ring["root"],
            *(master["secret"] for master in ring["masters"]),
            *(key["d"] for key in signing["keys"]),
        ]
        for secret in found:
            self.canaries.collect("key", secret)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    canaries = Canaries()
    with canary_provider(canaries) as idp:
        run = Run(tmp_path, idp, canaries)
        try:
            yield run
        except BaseException:
            for child in run.stack.children:
                print(child.output)
            raise
        finally:
            run.stack.stop()


def test_no_secret_is_found_anywhere_after_a_whole_life_of_a_relay(run: Run, app: App) -> None:
    """Row 158."""
    tunnel = run.guarded(app)
    run.log_in_and_use(tunnel)
    run.show_tokens(tunnel)
    run.meet_errors(tunnel)
    run.use_password(app)
    run.refresh(tunnel)
    run.look()
    run.come_back(tunnel)
    run.log_out(tunnel)
    run.knock_with_unknown_token(app)
    run.look()
    run.use_commands()
    assert tunnel.child.wait() == 3
    run.finish()

    leaks = run.canaries.leaks(run.places)
    assert {(leak.name.partition(" #")[0], re.sub(r" \d+ ", " ", leak.place, count=1)) for leak in leaks} == BACK_TO_IT
    assert run.canaries.names == EVERY_SECRET
    assert_saw_enough(run.places)


def assert_saw_enough(places: dict[str, bytes]) -> None:
    """The places hold what they ought to: a log that was empty would prove nothing."""
    logs = b"".join(content for name, content in places.items() if name.startswith("log of relay"))
    for word in (
        b"login.ok",
        b"session.refresh",
        b"logout",
        b"tunnel.bound",
        b"keys.rotated",
        b"login.error",
        b"exchange",
    ):
        assert word in logs or word in places["output of audit list --json --limit=1000"], word
    kinds = {name.partition(" ")[0] for name in places}
    assert kinds == {"answer", "arguments", "file", "log", "metrics", "output", "readyz", "talk"}
    assert any(re.fullmatch(r"file relay\.db", name) for name in places)
    assert b"tunnelrelay_logins" in next(content for name, content in places.items() if name.startswith("metrics"))


# The checker itself


@pytest.mark.parametrize(
    "spell",
    [
        lambda value: value,
        lambda value: f"GET /?q={quote(value, safe='')} HTTP/1.1",
        lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(f"x{value}y".encode()).decode(),
        lambda value: value.encode().hex(),
        lambda value: f"cut short: {value[:14]}",
        lambda value: f"…{value[-14:]}",
        lambda value: json.dumps({"a": [value]}),
    ],
)
def test_a_leak_is_found_however_it_is_spelled(spell: Callable[[str], str]) -> None:
    """Row 158."""
    canaries = Canaries()
    value = canaries.plant("secret")

    (leak,) = canaries.leaks({"a log": b"before " + spell(value).encode() + b" after", "another": b"clean"})

    assert (leak.name.partition(" #")[0], leak.place) == ("secret", "a log")


def test_a_leak_of_a_token_is_found_by_its_secret_part_and_not_by_its_header() -> None:
    """Row 158."""
    canaries = Canaries()
    canaries.collect("token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.SIGNATURESIGNATURE0123")

    assert canaries.leaks({"a": b"eyJhbGciOiJSUzI1NiJ9.[redacted]"}) == []
    assert len(canaries.leaks({"a": b"..SIGNATURESIGNATURE0123"})) == 1


def test_a_relay_that_logged_a_secret_would_be_caught(tmp_path: Path) -> None:
    """Row 158."""
    canaries = Canaries()
    secret = canaries.plant("client secret")
    loud = processes.run("tunnelrelay", "audit", "list", f"--host={secret}", f"--data-dir={tmp_path / secret}")

    assert [leak.place for leak in canaries.leaks({"output": "\n".join(loud.lines).encode()})] == ["output"]
