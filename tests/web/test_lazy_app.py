"""Apps that are made when they are first asked for."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from tunnelrelay.web.lazy_app import LazyApp


class Maker:
    """Makes an app that counts its requests; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.made = 0
        self.asked = 0

    def __call__(self):
        if self.failures:
            self.failures -= 1
            raise ImportError("not now")
        self.made += 1
        return self.app

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1


async def test_nothing_is_made_before_the_first_request():
    maker = Maker()
    LazyApp(maker)

    assert maker.made == 0


async def test_many_first_requests_make_one_app():
    maker = Maker()
    late = LazyApp(maker)

    await asyncio.gather(*(late({}, None, None) for _ in range(20)))

    assert (maker.made, maker.asked) == (1, 20)


async def test_an_app_that_could_not_be_made_is_made_by_the_next_request():
    maker = Maker(failures=1)
    late = LazyApp(maker)

    with pytest.raises(ImportError):
        await late({}, None, None)
    await late({}, None, None)

    assert (maker.made, maker.asked) == (1, 1)
