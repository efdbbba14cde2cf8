"""Runs a Python module as a program, with a temporary directory, until its standard input is closed.

    python -m tunnelctl.forwarding.until_stdin_closes MODULE ARGUMENT...

`{dir}` in an argument stands for the directory, which is removed at the end. Its parent keeps the other end of standard
input open, so that the program ends with the parent, however that ends.
"""

import os
import runpy
import signal
import sys
import tempfile
import threading


def main() -> None:
    """Run the module named by the first argument."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the module has a handler of its own
    threading.Thread(target=_stop_with_stdin, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="tunnelctl-") as place:
        sys.argv = [argument.replace("{dir}", place) for argument in sys.argv[1:]]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _stop_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
