"""Exchanges without a tunnel."""

from types import SimpleNamespace
from typing import Any


def exchange(**changes: Any) -> Any:
    """One that went well, with what is different about it."""
    usual = {
        "method": b"GET",
        "target": b"/",
        "status": 200,
        "seconds": 0.25,
        "code": None,
        "reason": "",
        "is_upgrade": False,
        "head": b"GET / HTTP/1.1\r\nHost: demo.tun.example\r\nX-Forwarded-For: 192.0.2.9\r\n",
    }
    return SimpleNamespace(**{**usual, **changes})
