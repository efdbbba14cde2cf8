"""Stand-ins for what a page's commands need from the system: `sudo`, `useradd`, `install`, `python3`, `certbot`,
`systemctl`.

They work below a folder that takes the place of `/`, need no root, and hold to what the real ones hold to: `sudo` and
`install` to who owns a directory, `systemctl` to what it has loaded and to where the unit lets its program write.
`install_commands(folder)` puts them into `folder/bin`; each is this module, run under the command's name.
"""

import configparser
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("sudo", "useradd", "install", "python3", "certbot", "systemctl")
ROOT_VARIABLE, CERTIFICATE_VARIABLE = "TEST_MACHINE", "TEST_MACHINE_CERTIFICATE"
"""Which folder is `/`, and where the certificate and key lie that certbot is given by its authority."""
UNITS = "etc/systemd/system"
RELAY = Path("usr/local/bin/tunnelrelay")
"""What systemd starts. `sudo` runs the command of this name that starts at once."""


def install_commands(folder: Path) -> Path:
    """Writes the commands; the folder to put in front of PATH."""
    commands = folder / "bin"
    commands.mkdir()
    for name in COMMANDS:
        script = commands / name
        script.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.docs.machine import main\nsys.exit(main({name!r}, sys.argv[1:]))\n"
        )
        script.chmod(0o755)
    return commands


class Machine:
    """The machine below a folder: its users, who owns what, and the units that systemd has loaded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.state.mkdir(exist_ok=True)

    def add_user(self, name: str) -> None:
        (self.state / f"user-{name}").touch()

    def check_user(self, name: str) -> None:
        """Exit unless there is such a user: those of packages and the ones that were added."""
        if name not in {"caddy", "postgres"} and not (self.state / f"user-{name}").exists():
            sys.exit(f"no user {name}")

    def own(self, path: Path, owner: str) -> None:
        with (self.state / "owners").open("a") as file:
            file.write(f"{path.resolve()}\t{owner}\n")

    def owner(self, path: Path) -> str:
        """Whose a file or directory is; root's unless something else was said."""
        owners = self.state / "owners"
        lines = owners.read_text().splitlines() if owners.exists() else []
        return dict(line.split("\t") for line in lines).get(str(path.resolve()), "root")

    # systemd

    def load(self) -> None:
        """`daemon-reload`: from now on units are what their files say."""
        shutil.rmtree(self.state / "loaded", ignore_errors=True)
        shutil.copytree(self.root / UNITS, self.state / "loaded")

    def unit(self, name: str) -> Mapping[str, str]:
        """The settings of a loaded unit's service, its drop-ins' among them."""
        loaded = self.state / "loaded"
        files = [loaded / f"{name}.service", *sorted((loaded / f"{name}.service.d").glob("*.conf"))]
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str
        parser.read(files)
        return parser["Service"]

    def start(self, name: str) -> None:
        """Start a unit's program, unless it could not write where its configuration has it write."""
        if not (self.state / "loaded").exists():
            self.load()
        unit = self.unit(name)
        self.check_user(unit["User"])
        state_directory = self.root / "var/lib" / unit["StateDirectory"]
        state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.own(state_directory, unit["User"])
        command = unit["ExecStart"].split()
        self._check_writes(unit, state_directory, Path(command[command.index("--config") + 1]))
        said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = f"\0{name}-{os.getpid()}"
        said.bind(address)
        said.settimeout(PATIENCE)
        with said, (self.state / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                env={**os.environ, "STATE_DIRECTORY": str(state_directory), "NOTIFY_SOCKET": f"@{address[1:]}"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            (self.state / f"{name}.pid").write_text(str(child.pid))
            if unit["Type"] == "notify":
                assert said.recv(4096) == b"READY=1"

    def stop(self, name: str) -> None:
        """End a unit's program and wait until it is gone."""
        pid_file = self.state / f"{name}.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text())
        pid_file.unlink()
        deadline = time.monotonic() + PATIENCE
        try:
            os.kill(pid, signal.SIGTERM)
            while _is_running(pid):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        except ProcessLookupError:
            return

    def _check_writes(self, unit: Mapping[str, str], state_directory: Path, config: Path) -> None:
        """Exit where the program writes into a directory that is missing, another's, or read-only to the unit."""
        settings = tomllib.loads(config.read_text())
        written = [Path(settings.get("data_dir", state_directory))]
        written += [Path(settings["keys_file"]).parent] if "keys_file" in settings else []
        writable = [state_directory, *map(Path, unit.get("ReadWritePaths", "").split())]
        for folder in written:
            if not folder.is_dir():
                sys.exit(f"{folder} is missing")
            if self.owner(folder) != unit["User"]:
                sys.exit(f"{folder} is {self.owner(folder)}'s, not {unit['User']}'s")
            if unit["ProtectSystem"] == "strict" and not any(folder.is_relative_to(path) for path in writable):
                sys.exit(f"{folder} is read-only to the unit")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# The commands


def sudo(machine: Machine, words: list[str]) -> int:
    """Run a command, as root or as a user that exists. The relay's program must have been installed."""
    if words[0] == "-u":
        machine.check_user(words[1])
        words = words[2:]
    if words[0] == RELAY.name and not (machine.root / RELAY).exists():
        sys.exit(f"/{RELAY} is missing")
    return subprocess.run(words, check=False).returncode


def useradd(machine: Machine, words: list[str]) -> int:
    """Add a user."""
    machine.add_user(words[-1])
    return 0


def install(machine: Machine, words: list[str]) -> int:
    """Install files or directories, and remember the owner that they would have."""
    owner = "root"
    if "-o" in words:
        at = words.index("-o")
        owner = words[at + 1]
        machine.check_user(owner)
        del words[at : at + 2]
    code = subprocess.run([shutil.which("install", path="/usr/bin:/bin") or "install", *words], check=False).returncode
    target = Path(words[-1])
    if code == 0 and "-d" in words:
        machine.own(target, owner)
    elif code == 0:
        sources = [Path(word) for word in words[:-1] if word.startswith("/")]
        for file in [target / source.name for source in sources] if target.is_dir() else [target]:
            machine.own(file, owner)
    return code


def python3(machine: Machine, words: list[str]) -> int:
    """Make a virtual environment, with a pip that is not unpacked but imported from PYTHONPATH: 4 s less."""
    assert words[:2] == ["-m", "venv"], words
    place = Path(words[2])
    code = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=False).returncode
    pip = place / "bin" / "pip"
    pip.write_text(f"#!{place}/bin/python\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n")
    pip.chmod(0o755)
    return code


def certbot(machine: Machine, words: list[str]) -> int:
    """Get the certificate, and run the deploy hook as certbot does."""
    assert words[0] == "certonly"
    given = Path(os.environ[CERTIFICATE_VARIABLE])
    lineage = machine.root / "etc/letsencrypt/live" / words[words.index("-d") + 1]
    lineage.mkdir(parents=True, exist_ok=True)
    shutil.copy(given / "cert.pem", lineage / "fullchain.pem")
    shutil.copy(given / "key.pem", lineage / "privkey.pem")
    hook = words[words.index("--deploy-hook") + 1]
    return subprocess.run(hook, shell=True, check=False, env={**os.environ, "RENEWED_LINEAGE": str(lineage)}).returncode


def systemctl(machine: Machine, words: list[str]) -> int:
    """Start, stop and reload units; one whose package is not installed is not running."""
    verb, name = words[0], words[-1]
    if verb == "daemon-reload":
        machine.load()
    elif verb in {"start", "enable"}:
        machine.start(name)
    elif verb == "stop":
        machine.stop(name)
    elif verb == "restart":
        machine.stop(name)
        machine.start(name)
    else:
        assert verb == "try-reload-or-restart", verb
    return 0


def main(name: str, words: list[str]) -> int:
    """Do what the command of this name does."""
    act: dict[str, Callable[[Machine, list[str]], int]] = {
        "sudo": sudo,
        "useradd": useradd,
        "install": install,
        "python3": python3,
        "certbot": certbot,
        "systemctl": systemctl,
    }
    return act[name](Machine(Path(os.environ[ROOT_VARIABLE])), words)
