"""Describes the machine, the versions of programs and the date, which the report shows beside the figures."""

import datetime
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from tests.bench.peers import program
from tunnelctl import __version__

VERSION_COMMANDS = {
    "nginx": ("nginx", "-v"),
    "wrk": ("wrk", "-v"),
    "ssh": ("ssh", "-V"),
    "frps": ("frps", "--version"),
    "chisel": ("chisel", "--version"),
    "rathole": ("rathole", "--version"),
}


def facts() -> dict[str, str]:
    """Return short descriptions of the machine and the software, by name."""
    found = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} × {_cpu_model()}, {_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "tunnel": __version__,
        "python": platform.python_version(),
    }
    for name, (command, flag) in VERSION_COMMANDS.items():
        path = shutil.which(program(command))
        if path and (version := _version(path, flag)):
            found[name] = version
    return found


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(path: str, flag: str) -> str:
    """Return the first text like a version that a program prints, also with an error status, as wrk does."""
    try:
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    return found[0].rstrip(",") if found else ""
