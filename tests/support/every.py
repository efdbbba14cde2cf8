"""One test for a table of cases: as `pytest.mark.parametrize`, but one item, whose failure lists all broken cases."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

MAX_SHOWN = 300
"""Characters of a case that a failure shows."""

Test = Callable[..., Any]


def every(names: str, cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run the test with every case, and fail with all cases that failed.

    All cases get the same fixtures: for tests that leave nothing behind in them.

    Args:
        names: The arguments that a case fills, as `parametrize` takes them: `"host, status"`.
        cases: One value each, or a tuple where there are several names.
    """
    arguments = [name.strip() for name in names.split(",")]
    rows = [dict(zip(arguments, case if len(arguments) > 1 else (case,), strict=True)) for case in cases]
    assert rows, f"no cases for {names}"

    def decorate(test: Test) -> Test:
        async def run_async(*args: Any, **fixtures: Any) -> None:
            failures = Failures(rows)
            for row in rows:
                with failures.caught(row):
                    await test(*args, **fixtures, **row)
            failures.tell()

        def run(*args: Any, **fixtures: Any) -> None:
            failures = Failures(rows)
            for row in rows:
                with failures.caught(row):
                    test(*args, **fixtures, **row)
            failures.tell()

        runner = functools.wraps(test)(run_async if inspect.iscoroutinefunction(test) else run)
        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in arguments]
        runner.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]  # pytest reads it
        return runner

    return decorate


class Failures:
    """The cases that failed so far."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._count = len(rows)
        self._errors: list[BaseException] = []

    @contextmanager
    def caught(self, row: dict[str, Any]) -> Iterator[None]:
        """Keep what a case raises, with the case beside it."""
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            error.add_note("case: " + ", ".join(f"{name}={value!r:.{MAX_SHOWN}}" for name, value in row.items()))
            self._errors.append(error)

    def tell(self) -> None:
        """Fail when a case failed."""
        if self._errors:
            raise BaseExceptionGroup(f"{len(self._errors)} of {self._count} cases failed", self._errors)
