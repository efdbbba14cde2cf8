"""Runs command lines of both programs in processes that start fast: they are forked off one that has imported all.

Each is a real process with its own arguments, environment, working directory, streams and exit code. It also records at
which lines of the code errors for people were created.
"""

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forkserver import import_all
from tests.support.processes import environment
from tests.support.tools import ROOT
from tests.support.waiting import PATIENCE

Site = tuple[str, int]
"""A place in the code: a file's path in the repository, and a line number."""


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a command: exit code and output.

    Attributes:
        sites: The places in the code at which errors for people were created.
    """

    code: int
    out: str
    err: str
    sites: frozenset[Site]


class Programs:
    """Context manager that runs commands by forking a process that has imported both programs."""

    def __enter__(self) -> "Programs":
        self._mother = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._mother.communicate()

    def run(
        self, program: str, args: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Done:
        """Run `tunnel` or `tunnelrelay` with these arguments to its end."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        order = {"program": program, "args": [*args], "cwd": str(cwd), "env": {**(env or {})}, "stdin": stdin.hex()}
        self._mother.stdin.write(json.dumps(order).encode() + b"\n")
        self._mother.stdin.flush()
        done = json.loads(self._mother.stdout.readline())
        sites = frozenset((file, line) for file, line in done.pop("sites"))
        return Done(**done, sites=sites)


def error_sites(*names: str) -> dict[Site, str]:
    """Return all places in the code that create errors of these classes, each with the function around it."""
    found: dict[Site, str] = {}
    for folder in ("tunnelctl", "server/tunnelrelay"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
                    around = [one.name for one in functions if one.lineno <= call.lineno <= (one.end_lineno or 0)]
                    found[str(path.relative_to(ROOT)), call.lineno] = around[-1] if around else ""
    return found


def _serve() -> None:
    import_all()
    for line in sys.stdin.buffer:
        with tempfile.TemporaryDirectory() as folder:
            answer = _ran(json.loads(line), Path(folder))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _ran(order: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "in").write_bytes(bytes.fromhex(order["stdin"]))
    pid = os.fork()
    if pid == 0:
        os._exit(_child(order, folder))
    _, status = os.waitpid(pid, 0)
    texts = {name: (folder / name).read_text(errors="replace") for name in ("out", "err")}
    noted = folder / "sites"
    sites = [json.loads(one) for one in noted.read_text().splitlines()] if noted.exists() else []
    return {"code": os.waitstatus_to_exitcode(status), **texts, "sites": sites}


def _child(order: dict[str, Any], folder: Path) -> int:
    """Run a command in the forked process. Returns its exit code."""
    from tunnelctl.cli.main import main as tunnel_main
    from tunnelrelay.__main__ import main as relay_main

    signal.alarm(int(PATIENCE))  # after that the kernel ends a process that hangs
    for number, (name, mode) in enumerate((("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY))):
        handle = os.open(folder / name, mode | os.O_CREAT, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    _note_sites(folder / "sites")
    sys.argv = [order["program"], *order["args"]]
    try:
        if order["program"] == "tunnel":
            tunnel_main()
        else:
            relay_main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    return 0


def _note_sites(file: Path) -> None:
    from tunnelctl.cli.exits import Failure
    from tunnelrelay.app.start_problems import StartError

    def noting(kind: Any) -> None:
        make = kind.__init__

        def note(self: Any, *args: Any, **named: Any) -> None:
            frame = inspect.stack(0)[1].frame
            where = Path(frame.f_code.co_filename)
            if where.is_relative_to(ROOT):
                with file.open("a") as sites:
                    sites.write(json.dumps([str(where.relative_to(ROOT)), frame.f_lineno]) + "\n")
            make(self, *args, **named)

        kind.__init__ = note

    noting(Failure)
    noting(StartError)


if __name__ == "__main__":
    _serve()
