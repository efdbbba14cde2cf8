"""A client for the local API of an agent on this machine, for `tunnel requests` and `tunnel replay`."""

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from tunnelctl import __version__
from tunnelctl.agent.configfile import ConfigFiles
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.localapi.address import DEFAULT_PORT, WebAddress, WebAddressInvalid, parse_web_addr, shown

LOOKED_AT = 10
"""Number of ports, from the default one up, at which an agent is looked for: an agent uses the next port when one is
taken."""
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 40.0
"""Time limits in seconds. A replay responds within 25 seconds."""
MAX_LINE = 1024 * 1024
"""Maximum bytes of one event; a stream with a longer line is not a stream of events."""


class LocalClient:
    """A client for the local API at one address.

    Args:
        address: Address of the API as `host:port`.
    """

    def __init__(self, address: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"http://{address}",
            transport=transport or httpx.HTTPTransport(trust_env=False),
            trust_env=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            headers={"User-Agent": f"tunnelctl/{__version__}"},
        )

    def is_agent(self) -> bool:
        """Return whether an agent responds at the address."""
        try:
            status = self._client.get("/api/status", timeout=CONNECT_SECONDS)
            return status.status_code == 200 and "agent_version" in status.json()
        except (httpx.HTTPError, ValueError, TypeError):
            return False

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at a path.

        Raises:
            Failure: The API refuses the request, or does not respond.
        """
        with _told():
            return _checked(self._client.get(path, params=dict(query or {}))).json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a POST request and return the JSON of the response.

        Raises:
            Failure: The API refuses the request, or does not respond.
        """
        with _told():
            return _checked(self._client.post(path, json=dict(body))).json()

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield names and data of a stream of events, until it ends.

        The first event, `open`, comes as soon as the stream is open.

        Raises:
            Failure: The API refuses the request, or does not respond.
        """
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        with _told(), self._client.stream("GET", path, timeout=timeout) as response:
            if response.status_code != 200:
                response.read()
            _checked(response)
            yield "open", None
            name = ""
            for line in _lines(response.iter_bytes()):
                kind, _, value = line.partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    yield name, json.loads(value)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()


def open_local_api(web_addr: str, config: ConfigFiles) -> LocalClient:
    """Return a client for the agent that runs on this machine.

    Args:
        web_addr: Address that the user gave; without one, it is taken from the file, or the default ports are tried.

    Raises:
        Failure: No agent was found.
    """
    for address in _addresses(web_addr, config):
        client = LocalClient(address)
        if client.is_agent():
            return client
        client.close()
        asked = address
    where = asked if web_addr else f"127.0.0.1:{DEFAULT_PORT}, nor at the {LOOKED_AT - 1} ports behind it"
    hint = "start one with `tunnel http`, or say with --web-addr where its log has it listen"
    raise Failure(Exit.FAILED, [f"no agent answers at {where}"], hint)


def _addresses(web_addr: str, config: ConfigFiles) -> list[str]:
    origin, text = "--web-addr", web_addr
    if not text:
        try:
            file = config.load()
        except FileInvalid as error:
            raise Failure(Exit.USAGE, error.problems, "put the file right, or name another with --config") from error
        origin, text = file.where("web_addr"), file.web_addr
    try:
        address = parse_web_addr(text)
    except WebAddressInvalid as error:
        raise Failure(Exit.USAGE, [f"{origin}: {error}"], "give it as 127.0.0.1:4040") from None
    if address is None:
        hint = "take that out of the file, and start the agent again"
        raise Failure(Exit.USAGE, [f"{origin} is false: agents have no local API then"], hint)
    address = _reachable(address)
    ports = [address.port] if address.is_explicit else range(DEFAULT_PORT, DEFAULT_PORT + LOOKED_AT)
    return [shown(address.host, port) for port in ports]


def _reachable(address: WebAddress) -> WebAddress:
    """Return the address to connect to; an address that means all interfaces becomes one of this machine."""
    literal = ipaddress.ip_address(address.host)
    if not literal.is_unspecified:
        return address
    return replace(address, host="127.0.0.1" if literal.version == 4 else "::1")


def _lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a stream. Raises ValueError for one longer than `MAX_LINE`."""
    kept = b""
    for part in parts:
        *lines, kept = (kept + part).split(b"\n")
        yield from (line.decode() for line in lines)
        if len(kept) > MAX_LINE:
            raise ValueError("a line without an end")


@contextmanager
def _told() -> Iterator[None]:
    """Translate network errors to errors for display."""
    try:
        yield
    except (httpx.HTTPError, ValueError) as error:
        reason = "it stopped, or does not answer in time" if isinstance(error, httpx.HTTPError) else "it is no agent"
        raise Failure(Exit.FAILED, [f"the agent's local API does not answer: {reason}"], "look at its log") from None


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code < 400:
        return response
    try:
        envelope = response.json()
        details = envelope["details"]
        message, more = str(envelope["msg"]), str(details.get("err") or details.get("id") or details.get("name") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, more = response.text.strip() or f"HTTP {response.status_code}", ""
    hint = "`tunnel requests` lists those that it has" if response.status_code == 404 else ""
    raise Failure(Exit.FAILED, [f"the agent refused: {message}{f': {more}' if more else ''}"], hint)
