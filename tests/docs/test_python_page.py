"""`docs/reference/python.md` against the code: arguments, members and errors."""

import inspect
import re
from pathlib import Path

import tunnelctl

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text()


def first_cells(title: str) -> list[str]:
    """The names in the first cells of the table whose header row begins with this text."""
    table = PAGE.partition(f"| {title} |")[2].partition("\n\n")[0]
    return [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)", row.split("|")[1])]


def test_the_arguments_are_the_codes() -> None:
    assert sorted(first_cells("argument")) == sorted(inspect.signature(tunnelctl.forward).parameters)


def test_both_ways_to_serve_take_the_same_arguments() -> None:
    one, other = inspect.signature(tunnelctl.forward), inspect.signature(tunnelctl.forward_sync)
    assert one.parameters == other.parameters


def test_the_errors_and_their_exit_codes_are_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    errors = [getattr(tunnelctl, name) for name in tunnelctl.API if name != "TunnelError"]
    known = {each.__name__: each for each in errors if isinstance(each, type) and issubclass(each, Exception)}
    assert {name: int(code) for name, code, _ in rows} == {name: error.exit_code for name, error in known.items()}
    for name, _, meaning in rows:
        assert meaning.startswith((known[name].__doc__ or "").partition(".")[0].split("\n")[0][:40])
