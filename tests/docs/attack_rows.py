"""Attacks by number: what each one tries, which tests show that it fails, and the table of both in the docs.

A test says which attacks it is about in its name (`test_row118_...`) or in the first words of its docstring (`Row 30.`,
`Rows 30, 31.`). Numbers are stable and never used again; some were never used.

    python -m tests.docs.attack_rows          prints the rows that no test names
    python -m tests.docs.attack_rows --write  writes the table into docs/concepts/security.md
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import ROOT

SECURITY = ROOT / "docs" / "concepts" / "security.md"
BEGIN, END = "<!-- attacks:begin -->", "<!-- attacks:end -->"
MAX_FILES = 3
"""Files of tests the table names for one attack; the rest is one search away."""
WHOLE = ("tests/fuzz/", "tests/journeys/")
"""Tests of everything at once: they show that it holds, and seldom why."""

CHAPTERS: dict[str, dict[int, str]] = {
    "Tokens of a provider": {
        1: "ID token without a signature",
        2: "ID token signed with the public key as if it were a shared secret",
        3: "ID token that brings its own key along",
        4: "ID token with critical extensions that the relay does not know",
        5: "Key ids that are unknown, of another use, or a path or query",
        6: "ID token without a key id while the provider has several keys",
        7: "ID token of the same provider for another client",
        8: "ID token for several clients, made for another one",
        9: "Issuer that is nearly the right one",
        10: "Expiry that has passed, is missing or is no number",
        11: "Tokens from the future or from long ago",
        12: "Nonce that is missing or another login's",
        13: "Hash of the access token that is wrong",
        14: "Subject that is missing, odd, or another in userinfo",
        15: "Userinfo that redirects, is unsigned or is no JSON",
        16: "Another kind of token in the place of an ID token",
        17: "ID token in the place of a logout token",
        18: "Logout token that is replayed, incomplete or for another connection",
        19: "E-mail address that only looks like an allowed one",
        20: "E-mail address that the provider has not verified",
        22: "A user who loses access at the provider while signed in",
        23: "Encrypted tokens that cost memory or time to open",
        24: "Tokens that are huge, deeply nested or name a claim twice",
        25: "Key sets that are huge, weak or broken",
        26: "Keys that the provider has exchanged",
        27: "A flood of unknown key ids that would be a flood of fetches",
        28: "Access token for another service, or one that never ends",
        29: "Access token of one person with the session of another",
    },
    "The login": {
        30: "A tenant's provider that sends visitors on to another tenant's provider, to catch their code",
        31: "The same by a discovery document that mixes two providers",
        32: "A tenant who uses another tenant's public client",
        33: "Answer with another issuer, two, or none where one was promised",
        34: "An attacker's finished login opened in a victim's browser",
        35: "A login begun by an attacker and finished by the victim",
        36: "Hand-off address used elsewhere, twice or late",
        37: "Hand-off of one endpoint at another",
        39: "State that was cut, changed, swapped or sent twice",
        40: "State used again with another code",
        41: "Code of another person's login in one's own",
        42: "Provider that offers only the weak form of PKCE",
        43: "Return address that leads to another site",
        44: "Parameters and headers that name a return address",
        45: "Error texts of a provider with markup, links or line breaks",
        46: "Background requests of a page whose session is over",
        48: "Forms sent while signed out",
        49: "Way around the login by the query",
        50: "Way around the login by a fragment",
        51: "Way around the login by headers that name another path",
        52: "Way around the login by another spelling of the path",
        53: "Way around the login by rules that match too much",
        54: "Way around the login by looking like a health check",
        55: "Way around the login by method",
        56: "Logins begun by prefetching browsers",
        57: "Login inside a frame",
        58: "Visitor who adds parameters to the login",
        59: "Token answers that are huge, slow, redirected or incomplete",
        60: "Owner who changes the provider while a login is under way",
        61: "Store or rules that fail while a visitor asks to be let in",
        62: "Refresh that comes back with another person",
        63: "Many requests at the moment a refresh is due, on two relays",
        64: "Relay that dies in the middle of a refresh",
    },
    "Cookies and sessions": {
        65: "Session cookie planted by a sibling host, in every spelling",
        66: "Two session cookies at once",
        67: "Session cookie wrapped in another cookie's value",
        69: "Floods of cookies that push others out or make heads too large",
        70: "App that sets the relay's cookies or its neighbours'",
        71: "App that shows what it was sent",
        72: "Session of one host at another, or of an older configuration",
        73: "Session id chosen before the login",
        74: "Cookie used after signing out, on another relay, on an open connection",
        75: "Session past its idle or absolute limit",
        76: "Image that signs people out",
        77: "Request from a neighbour's page with the visitor's cookie",
        78: "Neighbour's page that reads answers",
        79: "Private pages that a shared cache would keep",
        80: "Conditional requests without a session",
        81: "Sealed values with any bit changed, or of another use",
        82: "Cookies that claim to be in very many parts",
        84: "Service worker of a name's former owner",
    },
    "HTTP": {
        85: "Length and chunks in one request",
        86: "Two lengths, or lengths that are no plain number",
        87: "Transfer codings that two parsers read differently",
        88: "White space before the colon, folded lines",
        89: "Bare line feeds, versions that do not exist",
        90: "Control characters in fields",
        91: "Chunk sizes and extensions that two parsers read differently",
        93: "Trailers that would act as headers",
        94: "Host that is missing, double, or no host name",
        95: "TLS name of one endpoint with the Host of another",
        96: "Absolute targets, CONNECT and other odd forms",
        97: "Targets with spaces, fragments or raw bytes, or of a megabyte",
        98: "Versions and upgrades that lead to another protocol",
        100: "Pipelined requests for another host, and requests after the last",
        102: "Upgrade with a body",
        103: "Heads of a megabyte, ten thousand fields",
        104: "Agent's answers that do not hold together",
        105: "Agent that stops in the middle of an answer",
    },
    "Headers": {
        106: "Identity headers from a visitor, in any spelling",
        107: "Connection header that names the identity headers",
        108: "Forwarding headers from a visitor",
        109: "PROXY protocol from anybody",
        111: "Credentials for the relay that would reach the app",
        112: "Owner's header rules that name what is the relay's",
    },
    "Agents and links": {
        114: "WebSocket opened by another site's page",
        115: "WebSocket without a session, or whose session ends",
        116: "WebSocket frames that break the protocol",
        117: "Compressed frames that unpack to gigabytes",
        118: "Agent without a good token, or in the clear",
        119: "Names that belong to others, are reserved, or are spelt oddly",
        120: "Link frames that break the protocol",
        121: "Streams opened and reset without end",
        122: "Agent or visitor that stops reading or answering",
        124: "Two agents of one name with different rules",
        125: "Agents that come back all at once, or say too much",
        163: "Web page that publishes a name from a developer's machine",
    },
    "Exhaustion": {
        126: "Slow heads, bodies and readers, and idle connections",
        127: "Flood of logins begun",
        128: "Flood of callbacks and hand-offs",
        129: "Flood of log lines and audit events",
        130: "Store that is slow or away, full disk, clock that jumps",
    },
    "The relay's own calls": {
        131: "Issuer inside the relay's network, or the relay itself",
        132: "Name that changes its address between check and use",
        133: "Provider that points or redirects into the network",
        135: "Error texts that would tell what answers in the network",
        136: "Addresses that two parsers read differently",
    },
    "Dashboard and API": {
        138: "Things of another owner, by their ids, in lists and in filters",
        139: "Words that would run in a page, or in a spreadsheet",
        140: "Database commands in filters, orders and page tokens",
        141: "Secrets in what pages and answers show",
        142: "Fields, roles and scopes that users give themselves",
        143: "The first start, codes that are guessed, and answers that tell who exists",
        144: "The dashboard's own login, and accounts linked by an e-mail address",
        145: "API keys in addresses, and deleted ones that still open something",
        146: "Bodies and patterns that cost time, and addresses built from the Host",
        147: "Cookies that could be read in two ways",
    },
    "The agent's inspector and local API": {
        149: "Name of a web page that is made to lead to the agent's machine",
        150: "Web page that sends requests to the agent on its reader's machine",
        151: "Visitor's bytes that would run in the inspector's page or obey in the owner's terminal",
        152: "Tunnel that leads to the inspector itself",
        153: "Credentials in what the inspector shows or exports",
        154: "Other users of the agent's machine",
        155: "Bodies that fill the inspector's memory, or unpack to gigabytes",
    },
    "Command line and configuration": {
        156: "Secrets in process lists and shell history",
        157: "Files with secrets that others can read or replace",
        158: "Secrets in logs, tracebacks, metrics and addresses",
        159: "Misspelt or empty rules that would open an endpoint",
        160: "Configuration files that run code or eat memory",
        162: "Updates and installs that an attacker could slip in",
    },
}
"""Chapter to number to what is tried."""

OUT_OF_SCOPE: dict[int, str] = {
    154: "The local API has no password, as ngrok's; `web_addr: false` turns it off.",
    162: "Releases come through pip alone; neither program updates itself or installs anything.",
}
"""Number to why there is no test."""

ATTACKS = {number: meaning for rows in CHAPTERS.values() for number, meaning in rows.items()}

_SAID = re.compile(r"Rows? (\d+(?:(?:, | and |, and )\d+)*)[.:]")
_NAMED = re.compile(r"test_rows?((?:_?\d+)+)_")


def rows_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """The attacks that a test says it is about."""
    said = _SAID.match(ast.get_docstring(node) or "")
    named = _NAMED.match(node.name)
    texts = (said[1] if said else "", named[1] if named else "")
    return {int(number) for text in texts for number in re.findall(r"\d+", text)}


def tests_in(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every test of a file, those in classes too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def shown_by() -> dict[int, dict[str, list[str]]]:
    """Number to file to the names of its tests."""
    found: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        for test in tests_in(path):
            for number in rows_of(test):
                found[number][str(path.relative_to(ROOT))].append(test.name)
    return found


def why_not(number: int) -> str:
    """What the table says where no test is named."""
    return f"out of scope: {OUT_OF_SCOPE[number]}" if number in OUT_OF_SCOPE else ""


def best(tests: dict[str, list[str]]) -> list[str]:
    """The files to read first: those with most tests; among equals those that are about the thing itself."""
    return sorted(tests, key=lambda file: (-len(tests[file]), file.startswith(WHOLE), file))[:MAX_FILES]


def table() -> str:
    """The docs' table, with its headings."""
    found = shown_by()
    lines = []
    for chapter, rows in CHAPTERS.items():
        lines += [f"### {chapter}", "", "| row | what is tried | shown by |", "|---|---|---|"]
        for number, meaning in rows.items():
            tests = found.get(number, {})
            shown = ", ".join(f"`{file}`" for file in best(tests)) or why_not(number)
            lines.append(f"| {number} | {meaning} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def write() -> None:
    """Puts the table into the docs."""
    before, _, rest = SECURITY.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    SECURITY.write_text(f"{before}{BEGIN}\n\n{table()}\n{END}{after}")


def main(arguments: list[str]) -> None:
    """See the module."""
    if arguments == ["--write"]:
        write()
    missing = sorted(ATTACKS.keys() - shown_by().keys() - OUT_OF_SCOPE.keys())
    print("no test names:", ", ".join(map(str, missing)) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
