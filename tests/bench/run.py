"""`python tests/bench/run.py` runs the bench from any folder; `python -m tests.bench` needs the repository's root."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    runpy.run_module("tests.bench", run_name="__main__", alter_sys=True)
