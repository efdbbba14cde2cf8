"""Fuzzing with coverage guidance (atheris): each target for a while, from the seeds and from what was found before.

    python -m tests.fuzz                  every target, FUZZ_SECONDS each (10)
    python -m tests.fuzz key_set -runs=0  one target, with libFuzzer's own flags

Inputs that reach new code are kept in tests/artifacts/fuzz/TARGET, those that break a reader beside it as
TARGET-crash-...: once the reader is right, they become a seed in `corpus.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.tools import ARTIFACTS

FOUND = ARTIFACTS / "fuzz"
MAX_INPUT = 4096
SECONDS = 10


def main() -> int:
    if len(sys.argv) > 1:
        return fuzz(sys.argv[1], sys.argv[2:])
    from tests.fuzz.targets import TARGETS

    seconds = os.environ.get("FUZZ_SECONDS") or str(SECONDS)
    failed = [name for name in TARGETS if run(name, f"-max_total_time={seconds}")]
    print(f"fuzz: {len(TARGETS)} targets, {seconds} s each; broken: {', '.join(failed) or 'none'}")
    return bool(failed)


def run(name: str, *flags: str) -> int:
    """One target in a process of its own, which ends it."""
    return subprocess.run([sys.executable, "-m", "tests.fuzz", name, *flags], check=False).returncode


def fuzz(name: str, flags: list[str]) -> int:
    import atheris

    # Only what is imported here is watched, so the readers come now.
    with atheris.instrument_imports(include=["tunnelctl", "tunnelrelay"]):
        from tests.fuzz.targets import TARGETS
    folder = prepared(name)
    words = folder.parent / f"{name}.dict"
    places = [str(folder), f"-artifact_prefix={FOUND}/{name}-", f"-dict={words}", f"-max_len={MAX_INPUT}"]
    quiet = ["-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *places, *quiet, *flags], TARGETS[name])
    atheris.Fuzz()
    return 0


def prepared(name: str) -> Path:
    """The target's folder with the seeds in it."""
    from tests.fuzz.corpus import SEEDS, WORDS

    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (folder / f"seed-{number}").write_bytes(seed)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    (FOUND / f"{name}.dict").write_text("".join(f'"{word}"\n' for word in escaped))
    return folder


sys.exit(main())
