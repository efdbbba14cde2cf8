"""A decorator like `pytest.mark.parametrize` that makes one test item, whose failure lists all cases that failed."""

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
    """Decorator: run a test with every case, and fail with a list of the cases that failed.

    All cases get the same fixtures, so a case must leave nothing behind in them.

    Args:
        names: Names of the test's arguments that a case gives, as for `parametrize`: `"host, status"`.
        cases: One value per case, or a tuple when there are several names.
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
    """Collects the cases of a test that have failed."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._count = len(rows)
        self._errors: list[BaseException] = []

    @contextmanager
    def caught(self, row: dict[str, Any]) -> Iterator[None]:
        """Context manager: keep the exception of a case, together with the case."""
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            error.add_note("case: " + ", ".join(f"{name}={value!r:.{MAX_SHOWN}}" for name, value in row.items()))
            self._errors.append(error)

    def tell(self) -> None:
        """Raise an error that lists all failed cases, if there are any."""
        if self._errors:
            raise BaseExceptionGroup(f"{len(self._errors)} of {self._count} cases failed", self._errors)
