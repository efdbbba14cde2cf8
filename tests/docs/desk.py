"""Does what a page says, step by step, with real programs: each person's terminal is on a machine of their own.

What differs from the reader's world is written down here and nowhere else: ports, the domain `tun.example`, which is
`tun.localhost` here, the folder that takes the place of `/`, and providers that stand in for those the pages name.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from string import Template

from tests.docs.examples import Step, fits, steps
from tests.docs.machine import CERTIFICATE_VARIABLE, ROOT_VARIABLE, Machine, install_commands
from tests.support.certificates import Authority
from tests.support.idp import mock_provider
from tests.support.issuer import issuer
from tests.support.ports import free_ports
from tests.support.postgres import PostgresServer
from tests.support.processes import Child, commands, python
from tests.support.stack import is_listening, until
from tests.support.tools import ROOT, require_tool
from tests.support.visitor import Visitor
from tests.support.waiting import PATIENCE

GUIDES = ROOT / "docs" / "guides"
PROVIDER_GUIDES = {"auth0.md", "authentik.md", "entra-id.md", "google.md", "keycloak.md", "okta.md"}
"""Other flags with the same programs: test_provider_guides.py follows these, test_examples.py the others."""
PORTS = ("8080", "8081", "3000", "9400", "4040", "443", "80")
"""The usual ports, which the pages speak of and which may be taken on this machine. The last two stand in a URL only by
its scheme, and in a configuration behind a colon."""
DOMAIN = "tun.localhost"
"""In the place of `tun.example`: it needs no DNS."""
RELAY_MACHINE, DATABASE_MACHINE = "the relay's machine", "the database's machine"
ONLY_ONE = "one machine"
FOLDERS = ("etc/systemd/system", "etc/letsencrypt", "opt", "srv", "usr/local/bin", "var/lib", "var/backups")
"""What a machine has after its system was installed."""
PIP_SETTINGS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # pip takes the value of an option that begins with `no` for the opposite: 0 is yes. It builds with what is
    # installed here, compiles no module that is not imported, and does not check all that is installed: 2 s of 5.
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_NO_COMPILE": "0",
    "PIP_NO_WARN_CONFLICTS": "0",
}


class Desk:
    """The terminals of everybody whom a page speaks of.

    Attributes:
        written: What the last command wrote to stdout.
    """

    def __init__(self, folder: Path, postgres: Callable[[], PostgresServer]) -> None:
        self.folder = folder
        self.root = folder / "machine"
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.written = ""
        self.seen = ""
        self.running: list[tuple[str, Child]] = []
        self.issuers: dict[str, str] = {}
        self.exported: dict[str, dict[str, str]] = {}
        self.whose = ONLY_ONE
        self.machine: Machine | None = None
        self._postgres = postgres
        self._is_given: set[str] = set()
        self._provider = ""
        self._open = ExitStack()
        self.authority = Authority(folder / "authority")
        self.authority.issue(DOMAIN)

    def do(self, step: Step) -> None:
        act: dict[str, Callable[[Step], None]] = {
            "start until": self.start,
            "run": self.run,
            "fails": self.fails,
            "prints": self.prints,
            "file": self.file,
            "check": lambda _: None,  # tests/docs/test_files.py reads these
            "setting": lambda _: None,  # tests/journeys/test_frameworks.py makes these
            "not run": lambda _: None,
            "stop": self.stop,
            "visit": self.visit,
            "at": self.sit_down,
            "after": self.follow,
            "given": self.give,
        }
        act[step.kind](step)

    def follow(self, step: Step) -> None:
        """Does all that a page says."""
        for one in steps((GUIDES / step.rest).read_text()):
            self.do(one)

    def sit_down(self, step: Step) -> None:
        self.whose = step.rest

    def start(self, step: Step) -> None:
        command, awaited = self.here(step.block), self.here(step.rest)
        child = self._child(command)
        self.running.append((program(command), child))
        child.wait_for(lambda line: awaited in line)

    def run(self, step: Step) -> None:
        self._run(step.block, 0)

    def fails(self, step: Step) -> None:
        self._run(step.block, int(step.rest))

    def _run(self, block: str, code: int) -> None:
        child = self._child(self.here(block))
        found = child.wait(PATIENCE)
        assert found == code, f"{child.output}\n{self.log()}"
        self.written = "\n".join(child.out)
        self.seen += f"{self.written}\n"

    def prints(self, step: Step) -> None:
        assert fits(self.written, self.here(step.block)), self.written

    def file(self, step: Step) -> None:
        """Writes a file as an editor does: its directory must be there."""
        Path(self.here(step.rest)).write_text(self.here(step.block) + "\n")

    def stop(self, step: Step) -> None:
        child = next(child for name, child in reversed(self.running) if name == step.rest)
        assert child.stop() == 0, child.output

    def visit(self, step: Step) -> None:
        url, _, who, status = re.split(r":? ", self.here(step.rest))
        with Visitor() as visitor:
            assert visitor.login(url, who).status_code == int(status)

    # What pages take for granted

    def give(self, step: Step) -> None:
        what, _, rest = step.rest.partition(" ")
        if what in {"app", "relay"} & self._is_given:
            return
        self._is_given.add(what)
        give: dict[str, Callable[[str], None]] = {
            "app": self._give_app,
            "relay": self._give_relay,
            "provider": self._give_provider,
            "issuer": self._give_issuer,
        }
        give[what](rest)

    def _give_app(self, _: str) -> None:
        """An app on port 3000."""
        child = python("app", "http.server", self.ports["3000"], "--bind", "127.0.0.1")
        self.running.append(("app", child))
        child.wait_for(lambda line: "Serving HTTP" in line)

    def _give_relay(self, _: str) -> None:
        """A relay at tun.example that asks for no token, as it is this machine's alone."""
        folder, port = self.authority.folder, int(self.ports["443"])
        flags = [f"--https=127.0.0.1:{port}", f"--tls-cert={folder / 'cert.pem'}", f"--tls-key={folder / 'key.pem'}"]
        flags += [f"--domain={DOMAIN}", "--admin=off", "--http=off", f"--data-dir={self.folder / 'relay'}"]
        child = python("relay", "tunnelrelay", "serve", *flags)
        self.running.append(("relay", child))
        until(lambda: is_listening(port), "the relay to listen", child=child)

    def _give_provider(self, url: str) -> None:
        """A provider that stands in for the one at `url`; it believes everybody, and knows every client."""
        self._provider = self._provider or self._open.enter_context(mock_provider()).issuer
        self.issuers[url] = self._provider

    def _give_issuer(self, words: str) -> None:
        """An issuer of tokens in the place of the one at a URL; $TOKEN is one of its tokens."""
        url, audience, claims = words.split(" ", 2)
        found = self._open.enter_context(issuer())
        self.issuers[url] = found.url
        self.exported.setdefault(self.whose, {})["TOKEN"] = found.token(self.here(audience), **json.loads(claims))

    # Here and there

    def here(self, text: str) -> str:
        """What stands in the page, as it is called here."""
        for url, stand_in in self.issuers.items():
            text = re.sub(rf"{re.escape(url)}(?![\w-])", stand_in, text)
        text = re.sub(r"https://(?:([\w*-]+)\.)?tun\.example", self._url, text).replace("tun.example", DOMAIN)
        text = re.sub(r'":(443|80)"', lambda found: f'":{self.ports[found[1]]}"', text)
        ports = "|".join(PORTS[:-2])
        text = re.sub(rf"\b({ports})\b", lambda found: self.ports[found[0]], text)
        text = re.sub(r"(?<![\w./])/(?=(?:etc|opt|srv|usr/local|var)/)", f"{self.root}/", text)
        text = re.sub(r"\b([a-z]+_)…", self._secret, text).replace("=…", "=anything")
        return self._in_database(text)

    def _url(self, found: re.Match[str]) -> str:
        host = f"{found[1]}.{DOMAIN}" if found[1] else "localhost"
        return f"https://{host}:{self.ports['443']}"

    def _secret(self, found: re.Match[str]) -> str:
        """What a command has printed last of what begins so."""
        return re.findall(rf"\b{found[1]}\w+", self.seen)[-1]

    def _in_database(self, text: str) -> str:
        """The role and the address of the database server, which belongs to all tests of this worker."""
        if "psql" not in text and "postgresql://" not in text:
            return text
        role = f"guide{self.ports['80']}"
        text = re.sub(r"(ROLE |DATABASE |OWNER |postgresql://|db\.example/)tunnelrelay", rf"\g<1>{role}", text)
        return text.replace("db.example", f"127.0.0.1:{self._postgres().port}")

    def _child(self, command: str) -> Child:
        exported = self.exported.setdefault(self.whose, {})
        for name, value in re.findall(r'^export (\w+)="?([^\s"]*)', command, re.MULTILINE):
            exported[name] = Template(value).safe_substitute({**self._environment(), **exported})
        environment = {**self._environment(), **exported}
        return Child(program(command), ["bash", "-e", "-c", command], env=environment)

    def _environment(self) -> dict[str, str]:
        """A terminal as it is after logging in."""
        home = self.folder / "home" / re.sub(r"\W", "", self.whose)
        home.mkdir(parents=True, exist_ok=True)
        path = [str(commands()), str(Path(sys.executable).parent), os.environ["PATH"]]
        common = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONWARNINGS": "ignore"}
        common["PATH"] = os.pathsep.join(path)
        if self.whose in {RELAY_MACHINE, DATABASE_MACHINE}:
            return {**common, **self._machine_environment(path)}
        trust = {"SSL_CERT_FILE": str(self.authority.ca_file), "CURL_CA_BUNDLE": str(self.authority.ca_file)}
        if self.whose != ONLY_ONE:
            return {**common, **trust}
        return {
            **common,
            **trust,
            "TUNNELRELAY_HTTP": f"127.0.0.1:{self.ports['8080']}",
            "TUNNELRELAY_ADMIN": f"127.0.0.1:{self.ports['8081']}",
            "TUNNELRELAY_DATA_DIR": str(self.folder / "relay"),
            "TUNNELCTL_RELAY": f"http://127.0.0.1:{self.ports['8080']}",
        }

    def _machine_environment(self, path: list[str]) -> dict[str, str]:
        """A machine on which nothing was done yet but to install the system."""
        if self.machine is None:
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True)
            self.machine = Machine(self.root)
            install_commands(self.root)
        found = {
            "PATH": os.pathsep.join([str(self.root / "bin"), *path]),
            ROOT_VARIABLE: str(self.root),
            CERTIFICATE_VARIABLE: str(self.authority.folder),
            "TUNNELRELAY_ADMIN": f"127.0.0.1:{self.ports['8081']}",
            # What is installed comes from there, its libraries and pip from here: not one download for each test.
            "PYTHONPATH": str(libraries(self.folder / "libraries")),
            **PIP_SETTINGS,
        }
        if self.whose == DATABASE_MACHINE:
            server = self._postgres()
            found |= {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "tunnelrelay"}
            found["PGDATABASE"] = "postgres"
            self.machine.add_user("postgres")
        return found

    def log(self) -> str:
        """What the relay's machine has to say when something failed."""
        return "\n".join(file.read_text() for file in self.root.glob("state/*.log"))

    def turn_page(self) -> None:
        """Ends the page's tunnels. What was given stays, for the next page."""
        tunnels = [child for name, child in self.running if name == "tunnel"]
        self.running = [(name, child) for name, child in self.running if name != "tunnel"]
        for child in reversed(tunnels):
            child.stop()
        self.exported.clear()
        self.issuers.clear()
        self.written = self.seen = ""
        self.whose = ONLY_ONE

    def clear(self) -> None:
        for _, child in reversed(self.running):
            child.stop()
        if self.machine is not None:
            self.machine.stop("tunnelrelay")
        self._open.close()


def libraries(folder: Path) -> Path:
    """A folder with the installed libraries, and without this project."""
    if not folder.exists():
        folder.mkdir()
        installed = Path(next(path for path in sys.path if path.endswith("site-packages")))
        for entry in installed.iterdir():
            if not entry.name.startswith(("tunnelctl", "_tunnelctl")) and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


def program(command: str) -> str:
    """`DEMO_SECRET=x tunnel http 3000` -> `tunnel`; of several commands the last."""
    last = re.sub(r"\\\n", " ", command.strip()).splitlines()[-1]
    return next(word for word in last.split() if "=" not in word)


def desk_tools() -> None:
    """Skips without what every page needs."""
    require_tool("curl")
