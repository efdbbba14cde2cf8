"""A relay of this machine's own, which asks for no token, and a public one, which does."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config


def flags(data_dir: object, **more: object) -> dict[str, object]:
    return {"http": "127.0.0.1:0", "admin": "off", "data_dir": str(data_dir), "drain_seconds": "0", **more}


def public_flags(data_dir: object, **more: object) -> dict[str, object]:
    return flags(data_dir, domain="tun.example", public_url="https://*.tun.example", **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(tmp_path_factory) -> AsyncIterator[Relay]:
    async with Relay(load_config(flags=flags(tmp_path_factory.mktemp("local")), env={})) as relay:
        yield relay


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def public(tmp_path_factory) -> AsyncIterator[Relay]:
    settings = public_flags(tmp_path_factory.mktemp("public"))
    async with Relay(load_config(flags=settings, env={})) as relay:
        yield relay
