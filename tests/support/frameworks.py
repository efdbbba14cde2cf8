"""Web frameworks as their users run them, with the settings that docs/guides/frameworks.md says to make."""

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
"""The words in front of the flags that a guide's command adds."""
_SETTING = re.compile(r"^<!-- setting: (\S+) (.*?) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Framework:
    """How one framework's development server is started.

    Attributes:
        name: As the guide's table calls it, and `apps/NAME` in lower case.
        kit: Which of `tests/frameworks/short` and `long` has it installed.
        command: With `{port}`; the first word is a program of the kit's.
        env: More variables.
        path: What to open.
        live: The file whose change shows up in the page; "" where nothing reloads by itself.
        live_once: A pattern of what the page's websocket has carried once the page listens for changes.
        form: The page with a form whose field is `word`, "" where there is none.
        old: The page that redirects, "" where there is none.
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
        """The app as it comes."""
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
    """What the guide says to set.

    Attributes:
        where: A file of the app's, `+` in front where it is added at the end; or `command`: what to add to it.
        text: What stands there.
    """

    where: str
    text: str


def settings(framework: Framework) -> list[Setting]:
    """The guide's settings for a framework."""
    found = _SETTING.findall(GUIDE.read_text())
    return [Setting(where, text) for name, where, text in found if name == framework.name]


@dataclass(frozen=True, slots=True)
class Server:
    """A running development server.

    Attributes:
        folder: The app's files, to change.
    """

    port: int
    folder: Path
    child: Child


@contextmanager
def served(framework: Framework, host: str, *, is_set: bool) -> Iterator[Server]:
    """The framework's app on a free port.

    Args:
        host: The public host, in the place of the guide's `demo.tun.example`.
        is_set: With the settings of the guide; else as it comes.
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
    home = tempfile.mkdtemp(prefix="home-")  # not below the kit: Next takes no packages from above a home
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
    """Node binds `localhost`, which may be ::1 alone."""
    import socket

    with socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("::1", port)) == 0
