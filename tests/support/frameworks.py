"""Starts the development servers of web frameworks, with the settings that docs/guides/frameworks.md recommends."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.stack import is_listening, until
from tests.support.tools import ROOT, missing
from tests.support.waiting import PATIENCE

FRAMEWORKS = ROOT / "tests" / "frameworks"
GUIDE = ROOT / "docs" / "guides" / "frameworks.md"
COMMAND = ("jupyter", "lab")
"""The command in the guide to which it adds flags."""
_SETTING = re.compile(r"^<!-- setting: (\S+) (.*?) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Framework:
    """A web framework and how its development server is started.

    Attributes:
        name: The framework's name in the guide's table; in lower case the folder's name below `apps`.
        kit: `short` or `long`: the folder in `tests/frameworks` in which the framework is installed.
        command: The command line, with `{port}`; the first word is a program of the kit.
        env: Further environment variables.
        path: The path of the page to open.
        live: The file whose change appears in the open page; "" when the framework has no live reload.
        live_once: Pattern of a websocket message after which the page listens for changes.
        form: Path of a page with a form whose field is `word`; "" for none.
        old: Path of a page that redirects; "" for none.
    """

    name: str
    kit: str
    command: str
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    live: str = ""
    live_once: str = ""
    form: str = ""
    old: str = ""

    @property
    def folder(self) -> Path:
        """The folder with the framework's sample app, without the guide's settings."""
        return FRAMEWORKS / "apps" / self.name.lower()


VITE_LISTENS = '"type":"connected"'
ALL = [
    Framework("Vite", "short", "vite --port {port} --strictPort", live="text.js", live_once=VITE_LISTENS),
    Framework(
        "webpack", "long", "webpack serve --config webpack.config.cjs --port {port}",
        live="text.js", live_once='"type":"(still-)?ok"',
    ),
    Framework(
        "Next", "long", "next dev --port {port}", {"NEXT_TELEMETRY_DISABLED": "1"},
        live="text.js", live_once='"turbopack-subscribe".*"type":"built"', form="/form", old="/old",
    ),
    Framework(
        "SvelteKit", "long", "vite --port {port} --strictPort",
        live="src/text.js", live_once=VITE_LISTENS, form="/form", old="/old",
    ),
    Framework("Django", "short", "python manage.py runserver --noreload {port}", form="/form", old="/old"),
    Framework("Flask", "short", "flask run --port {port}", form="/form", old="/old"),
    Framework(
        "Jupyter", "long", "jupyter lab --no-browser --allow-root --port {port} --IdentityProvider.token=secret",
        path="/?token=secret", old="/",
    ),
    Framework(
        "Streamlit", "long",
        "streamlit run app.py --server.headless true --server.port {port} --browser.gatherUsageStats false",
    ),
    Framework(
        "Gradio", "long", "python app.py", {"GRADIO_SERVER_PORT": "{port}", "GRADIO_ANALYTICS_ENABLED": "False"}
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that the guide recommends for a framework.

    Attributes:
        where: The app's file to replace, with `+` before it the file to append to; or `command`, to add flags to it.
        text: The file's content, the text to append, or the flags.
    """

    where: str
    text: str


def settings(framework: Framework) -> list[Setting]:
    """Return the settings that the guide recommends for a framework."""
    found = _SETTING.findall(GUIDE.read_text())
    return [Setting(where, text) for name, where, text in found if name == framework.name]


@dataclass(frozen=True, slots=True)
class Server:
    """A running development server of a framework.

    Attributes:
        folder: Folder with a copy of the app, whose files a test may change.
    """

    port: int
    folder: Path
    child: Child


@contextmanager
def served(framework: Framework, host: str, *, is_set: bool) -> Iterator[Server]:
    """Context manager: the framework's sample app, served by its development server on a free port.

    Args:
        host: The public host, which replaces the guide's `demo.tun.example`.
        is_set: Whether the app has the settings of the guide.
    """
    kit = FRAMEWORKS / framework.kit
    if not (kit / ".ready").exists():
        missing(f"{kit.relative_to(ROOT)} is not installed (make {kit.relative_to(ROOT)}/.ready)")
    work = kit / ".work"
    work.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{framework.name.lower()}-", dir=work))
    port = free_port()
    command = framework.command
    if framework.folder.exists():
        shutil.copytree(framework.folder, folder, dirs_exist_ok=True)
    for setting in settings(framework) if is_set else []:
        text = setting.text.replace("demo.tun.example", host)
        if setting.where == "command":
            command = " ".join([command, *text.split()[len(COMMAND) :]])
        elif setting.where.startswith("+"):
            file = folder / setting.where[1:]
            file.write_text(f"{file.read_text()}\n{text}")
        else:
            (folder / setting.where).parent.mkdir(exist_ok=True)
            (folder / setting.where).write_text(text)
    programs = os.pathsep.join([str(kit / ".venv/bin"), str(kit / "node_modules/.bin"), os.environ["PATH"]])
    env = {name: value.format(port=port) for name, value in framework.env.items()}
    home = tempfile.mkdtemp(prefix="home-")  # outside the kit: Next finds no packages in folders above the home
    env = {"PATH": programs, "HOME": home, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore", **env}
    line = f"cd {folder} && exec {command.format(port=port)}"
    child = Child(framework.name, ["bash", "-c", line], env=env)
    try:
        until(lambda: is_listening(port) or _listens_on_v6(port), f"{framework.name} to listen", PATIENCE, child)
        yield Server(port, folder, child)
    except BaseException:
        print(child.output)  # pytest shows it with the failure
        raise
    finally:
        child.kill_group()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def _listens_on_v6(port: int) -> bool:
    """Whether a process listens at this port of ::1, which is all that Node may bind for `localhost`."""
    import socket

    with socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("::1", port)) == 0
