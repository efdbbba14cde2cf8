"""A relay's login with everything around it in one process: a provider that lies on request, and browsers."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.memory_store import MemoryStore
from tunnelctl.http1.head import RequestHead, parse_request
from tunnelctl.oidc.base64url import b64url
from tunnelctl.secret import Secret
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.login.callback import ArrivedAt
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.login import HANDOFF_PATH, Login
from tunnelrelay.oidc.login.outcomes import LoginEnd
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.logout.logout import Logout
from tunnelrelay.oidc.logout.provider_logout import ProviderLogout
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.policy.rules import Connection, Rules

APP, EVIL = "app.tun.example", "evil.tun.example"
ISSUER = "https://idp.acme.example"
CLIENT_ID = "client:1"
CLIENT_SECRET = "s3cr%t+/ä"
START = 1_800_000_000.0
TUN_EXAMPLE = PublicAddress(scheme="https", domain="tun.example", port=443)
PEER = Peer("203.0.113.9", 40000)
SHARED = ArrivedAt("shared")

RSA_KEY = RSAKey.generate_key(2048, {"kid": "k1"})
OTHER_RSA_KEY = RSAKey.generate_key(2048, {"kid": "k2"})


class Clock:
    """Unix time that moves when told."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Gate:
    """Holds calls up until it is opened, and says when one has come."""

    def __init__(self) -> None:
        self.reached, self._opened = asyncio.Event(), asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def pass_through(self) -> None:
        self.reached.set()
        await self._opened.wait()


class LyingProvider(httpx.AsyncBaseTransport):
    """A provider and the network to it. Honest until a test says otherwise.

    Attributes:
        metadata: Laid over the honest discovery document; a None removes the member.
        claims: Laid over the honest ID token's claims; a None removes the claim.
        header: Laid over its header.
        key: Signs; `jwks` is what is published.
        make_token: Makes the ID token from the claims, instead of signing them.
        token_answer: Laid over the token endpoint's answer.
        answers: Path -> whole answer, instead of the honest one.
        gates: Path -> what its answers wait for.
        calls: Every request, in order.
        gives_refresh: Refresh tokens, which rotate: one that comes twice ends its whole family.
        refresh_claims: Laid over the claims of ID tokens that refreshes bring; these have no nonce by themselves.
        refresh_answer: Laid over the token endpoint's answer to a refresh.
    """

    def __init__(self, issuer: str = ISSUER, *, clock: Callable[[], float]) -> None:
        self.issuer = issuer
        self.clock = clock
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.key = RSA_KEY
        self.jwks: dict[str, Any] = {"keys": [public(RSA_KEY)]}
        self.make_token: Callable[[dict[str, Any]], str] | None = None
        self.token_answer: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.gates: dict[str, Gate] = {}
        self.calls: list[httpx.Request] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.checks_pkce = True
        self.gives_refresh = False
        self.refresh_claims: dict[str, Any] = {}
        self.refresh_answer: dict[str, Any] = {}
        self.families: dict[str, str] = {}

    def authorize(self, location: str, **lies: str) -> list[tuple[str, str]]:
        """A visitor signs in at the address they were sent to. Returns the parameters they come back with."""
        asked = dict(parse_qsl(urlsplit(location).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], **lies}
        return [(name, value) for name, value in answer.items() if value]

    def calls_to(self, path: str) -> list[httpx.Request]:
        return [call for call in self.calls if call.url.path == path]

    def refreshes(self) -> list[str]:
        """The refresh tokens that were shown, in order."""
        forms = [dict(parse_qsl(call.content.decode())) for call in self.calls_to("/token")]
        return [form["refresh_token"] for form in forms if "refresh_token" in form]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.calls.append(request)
        if request.url.path in self.gates:
            await self.gates[request.url.path].pass_through()
        answer = self.answers.get(request.url.path)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        match request.url.path:
            case "/.well-known/openid-configuration":
                return as_json(self.document())
            case "/jwks":
                return as_json(self.jwks)
            case "/token":
                return self._token(dict(parse_qsl(request.content.decode())))
            case "/userinfo":
                return as_json(self.userinfo)
        return httpx.Response(404, json={}, headers={"content-type": "application/json"})

    def document(self) -> dict[str, Any]:
        return without_none(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
                **self.metadata,
            }
        )

    def _token(self, form: dict[str, str]) -> httpx.Response:
        if form.get("grant_type") == "refresh_token":
            return self._refresh(form["refresh_token"])
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = b64url(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or (self.checks_pkce and verifier != asked["code_challenge"]):
            return as_json({"error": "invalid_grant"}, 400)
        claims = self.honest_claims(asked["nonce"])
        answer = {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token(claims)}
        if self.gives_refresh:
            answer["refresh_token"] = self.rotated(f"rt{len(self.families)}")
        return as_json(without_none({**answer, **self.token_answer}))

    def _refresh(self, token: str) -> httpx.Response:
        family = token.partition("-")[0]
        if self.families.get(family) != token:
            self.families[family] = "dead"
            return as_json({"error": "invalid_grant"}, 400)
        claims = without_none({**self.honest_claims(""), "nonce": None, **self.refresh_claims})
        answer = {
            "access_token": f"at {self.rotated(family)}",
            "token_type": "Bearer",
            "id_token": self.id_token(claims),
        }
        answer["refresh_token"] = self.families[family]
        return as_json(without_none({**answer, **self.refresh_answer}))

    def rotated(self, family: str) -> str:
        """The next good token of a family, and the only one."""
        count = int(self.families.get(family, "-0").partition("-")[2]) + 1
        self.families[family] = f"{family}-{count}"
        return self.families[family]

    def honest_claims(self, nonce: str) -> dict[str, Any]:
        now = int(self.clock())
        honest = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "email": "alice@acme.example",
            "email_verified": True,
            "name": "Alice Adams",
        }
        return without_none({**honest, **self.claims})

    def id_token(self, claims: dict[str, Any]) -> str:
        if self.make_token is not None:
            return self.make_token(claims)
        header = without_none({"alg": "RS256", "kid": "k1", **self.header})
        return jwt.encode(header, claims, self.key, algorithms=[header["alg"]])


@dataclass
class World:
    """One relay's login, its store and its providers.

    Attributes:
        monotonic: Tells the age of documents; None for `clock`.
        fetcher: Calls the providers; None for the one `provider`.
    """

    address: PublicAddress = TUN_EXAMPLE
    clock: Clock = field(default_factory=Clock)
    monotonic: Callable[[], float] | None = None
    ring: KeyRing = field(default_factory=KeyRing.generate)
    store: Any = field(default_factory=MemoryStore)
    endpoints: dict[str, Connection] = field(default_factory=dict)
    ended: list[bytes] = field(default_factory=list)
    spawned: list[Any] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    shared_owners: frozenset[str] = frozenset()
    limits: LoginLimits | None = None
    fetcher: Fetcher | None = None

    def __post_init__(self) -> None:
        self.provider = LyingProvider(clock=self.clock)
        self.endpoints.setdefault(APP, connection())
        self.signer = AssertionSigner.generate(issuer=self.address.url(self.address.domain))
        self.restart()

    def restart(self) -> None:
        """The relay process starts anew on the same store and key ring."""
        fetcher = self.fetcher or Fetcher(self.provider, total_seconds=0.5)
        self.providers = ProviderClient(
            fetcher=fetcher, clock=self.clock, monotonic=self.monotonic, allow_http=not self.address.is_secure
        )
        common: dict[str, Any] = {"address": self.address, "ring": self.ring, "clock": self.clock}
        self.audit = Audit(clock=self.clock)
        self.sessions = Sessions(
            **common,
            store=self.store,
            signer=self.signer,
            providers=self.providers,
            audit=self.audit,
            on_session_end=self.ended.append,
        )
        self.login = Login(
            **common,
            sessions=self.sessions,
            providers=self.providers,
            store=self.store,
            endpoints=self,
            audit=self.audit,
            limits=self.limits,
            shared_owners=self.shared_owners,
        )
        self.logout = Logout(
            **common, sessions=self.sessions, providers=self.providers, spawn=self.spawned.append, audit=self.audit
        )
        self.provider_logout = ProviderLogout(
            providers=self.providers,
            sessions=self.sessions,
            store=self.store,
            connections=self,
            clock=self.clock,
            audit=self.audit,
        )

    def forget_sessions(self) -> None:
        """Other visitors have pushed every session out of memory; the store has them still."""
        self.sessions.in_memory.clear()

    def connections(self) -> Iterable[Connection]:
        return self.endpoints.values()

    def connection_of(self, host: str) -> Connection | None:
        return self.endpoints.get(host)

    def owner_of(self, host: str) -> str:
        return self.owners.get(host, "Grace Hopper")

    def generation_of(self, host: str) -> int:
        return self.generations.get(host, 1)

    def find(self, browser: "Browser", host: str = APP) -> Any:
        """What the ingress finds for a request of this browser, as `Sessions.find` says it."""
        cookie = browser.session_cookie(host)
        return None if cookie is None else self.sessions.find(cookie, host, self.endpoints[host], self.clock())

    def use(self, browser: "Browser", host: str = APP) -> None:
        """A request of this browser that is let in."""
        session = self.find(browser, host)
        assert isinstance(session, VisitorSession), session
        self.sessions.seen(session, self.clock())

    async def current(self, browser: "Browser", host: str = APP) -> Any:
        """What comes of a request of this browser, waiting where it has to."""
        cookie = browser.session_cookie(host)
        return cookie and await self.sessions.current(cookie, host, self.endpoints[host], self.clock())

    async def rechecked(self) -> None:
        """Returns when no re-check is under way any more."""
        await self.sessions.finish(10)

    def second_relay(self) -> "World":
        """Another relay on the same store, with the same keys and provider."""
        second = World(
            address=self.address, clock=self.clock, ring=self.ring, store=self.store, endpoints=dict(self.endpoints)
        )
        second.provider = self.provider
        second.restart()
        return second

    def told(self, kind: str) -> list[str]:
        """The reasons of the audit events of this kind so far."""
        events = self.audit.take()
        self.audit.give_back(events)
        return [event.reason for event in events if event.kind == kind]

    async def signed_in(self, browser: "Browser", host: str = APP) -> Any:
        """The session of this browser, from memory or the store."""
        cookie = browser.session_cookie(host)
        return cookie and await self.sessions.recall(cookie, host, self.endpoints[host], self.clock())


class Browser:
    """A visitor: keeps the cookies of each host apart, and follows a login step by step.

    Attributes:
        outcomes: What each step at an endpoint is counted as.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.outcomes: list[str] = []
        self.jars: dict[str, dict[bytes, bytes]] = {}

    def cookies(self, host: str = APP) -> list[bytes]:
        pairs = self.jars.get(host, {})
        return [b"; ".join(b"=".join(pair) for pair in pairs.items())] if pairs else []

    def session_cookie(self, host: str = APP) -> bytes | None:
        return self.jars.get(host, {}).get(CookieJar(self.world.address.is_secure).session)

    async def start(self, target: str = "/x?y=1", host: str = APP) -> Reply:
        """Opens a page without being signed in."""
        fields = [("Cookie", value.decode("latin-1")) for value in self.cookies(host)]
        ended = await self.world.login.start(
            host, self.world.endpoints[host], request(host, target, fields), "r-start", PEER
        )
        return self.take_end(ended, host)

    async def callback(self, params: list[tuple[str, str]], arrived: ArrivedAt = SHARED) -> Reply:
        """Comes back to the callback host, which is never shown a cookie."""
        return await self.world.login.callback(params, arrived, "r-callback", PEER)

    async def finish(self, reply: Reply, host: str = APP) -> Reply:
        """Follows the callback's redirect."""
        url = urlsplit(location(reply))
        assert (url.netloc, url.path) == (host, HANDOFF_PATH)
        return await self.open_handoff(parse_qsl(url.query), host)

    async def open_handoff(self, params: list[tuple[str, str]], host: str = APP) -> Reply:
        return self.take_end(await self.world.login.finish(self.asking("r-finish", host), params), host)

    def asking(self, request_id: str, host: str = APP) -> VisitorRequest:
        """A request of this browser to one of the login's pages."""
        return VisitorRequest(
            host=host,
            connection=self.world.endpoints[host],
            cookie_values=self.cookies(host),
            request_id=request_id,
            peer=PEER,
        )

    async def sign_in(self, target: str = "/x?y=1", host: str = APP, **lies: str) -> Reply:
        """The whole way. Returns the last answer."""
        started = await self.start(target, host)
        handed = await self.callback(self.world.provider.authorize(location(started), **lies))
        return await self.finish(handed, host) if handed.status == 303 else handed

    def take_end(self, ended: LoginEnd, host: str) -> Reply:
        """Takes an answer of the login's."""
        self.outcomes.append(ended.outcome)
        return self.take(ended.reply, host)

    def take(self, reply: Reply, host: str) -> Reply:
        """Keeps the answer's cookies as a browser does."""
        jar = self.jars.setdefault(host, {})
        for value in set_cookies(reply):
            pair, *attributes = value.split(b"; ")
            name, _, content = pair.partition(b"=")
            if b"Max-Age=0" in attributes:
                jar.pop(name, None)
            else:
                jar[name] = content
        return reply


async def signed_in(world: World) -> Browser:
    """A browser that has signed in as the provider's usual person."""
    browser = Browser(world)
    await browser.sign_in()
    assert world.find(browser).identity.subject == "alice"
    return browser


def connection(**changes: Any) -> Connection:
    """The connection of `APP`, in order apart from the changes."""
    honest = Connection(
        id="conn-app",
        issuer=ISSUER,
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        scopes=("openid", "email", "profile"),
        rules=Rules(),
        idle_seconds=3600,
        max_seconds=8 * 3600,
        epoch="epoch-1",
        rules_version="rules-1",
        recheck_seconds=0,
    )
    if "client_secret" in changes:
        changes["client_secret"] = Secret(changes["client_secret"])
    return replace(honest, **changes)


def request(host: str, target: str, fields: list[tuple[str, str]] | None = None, method: str = "GET") -> RequestHead:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields or [])]
    return parse_request("\r\n".join([*lines, "", ""]).encode("latin-1"))


def location(reply: Reply) -> str:
    assert reply.status == 303, reply
    return dict(reply.fields)[b"Location"].decode()


def set_cookies(reply: Reply) -> list[bytes]:
    return [value for name, value in reply.fields if name == b"Set-Cookie"]


def code_of(reply: Reply) -> str:
    """The error code of an answer, "" when it is none."""
    return {name.lower(): value for name, value in reply.fields}.get(b"tunnel-error", b"").decode()


def public(key: Any, **more: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "use": "sig", **more}


def as_json(content: Any, status: int = 200, content_type: str = "application/json") -> httpx.Response:
    return httpx.Response(status, content=json.dumps(content).encode(), headers={"content-type": content_type})


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def sent_to(reply: Reply) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location(reply)).query))


def text_of(reply: Reply) -> str:
    return reply.body.decode()


async def handed_over(world: World, browser: Browser, **lies: str) -> Reply:
    """Up to the callback's redirect."""
    return await browser.callback(world.provider.authorize(location(await browser.start()), **lies))
