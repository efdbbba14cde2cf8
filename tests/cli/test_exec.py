"""`tunnel exec` where no command is run; `forwarding/test_exec.py` runs commands."""

import os

import pytest

from tunnelctl.cli.exits import Failure, RunExit
from tunnelctl.cli.main import tunnel


def test_a_system_that_cannot_fork_is_told(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(Failure, match="cannot run on this system") as failed:
        tunnel.main(["exec", "3000", "--", "true"], standalone_mode=False)
    assert failed.value.code == RunExit.USAGE
