"""The one shape of error: what it says, in which order, and how it looks on a terminal and off one."""

import io

import click
import pytest

from tunnelctl.cli.exits import Exit, Failure, Mistake
from tunnelctl.cli.program import Foreign, run_program


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(failure, stream=None):
    stream = stream or io.StringIO()
    failure.show(stream)
    return stream.getvalue()


def test_each_problem_is_an_error_line_and_the_hint_stands_last():
    assert shown(Failure(Exit.USAGE, ["a", "b"], "do this")) == "error: a\nerror: b\nhint: do this\n"


def test_a_hint_of_one_problem_stands_behind_it_and_a_shared_one_once():
    problems = [Mistake("a", "x"), Mistake("b", "x"), Mistake("c", "y"), "d"]
    assert shown(Failure(Exit.USAGE, problems, "z")).splitlines() == [
        "error: a", "error: b", "hint: x", "error: c", "hint: y", "error: d", "hint: z",
    ]  # fmt: skip


def test_a_pipe_gets_each_line_whole_and_without_colour():
    text = "word " * 50
    assert shown(Failure(Exit.FAILED, [text], text)) == f"error: {text}\nhint: {text}\n"


def test_a_terminal_gets_lines_that_fit_and_commands_whole():
    command = "`tunnel http 3000 --relay https://tun.example --authtoken env:TOKEN`"
    out = click.unstyle(shown(Failure(Exit.FAILED, ["word " * 30], f"type {command} there"), Terminal()))
    lines = out.splitlines()
    assert all(len(line) < 60 or command in line for line in lines)
    assert command in out
    assert lines[1].startswith("       word")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_none(name, value, monkeypatch):
    assert "\x1b[" in shown(Failure(Exit.FAILED, ["a"], "b"), Terminal())
    monkeypatch.setenv(name, value)
    assert shown(Failure(Exit.FAILED, ["a"], "b"), Terminal()) == "error: a\nhint: b\n"


@pytest.mark.parametrize("columns", ["1", "0", "39", "x"])
def test_a_terminal_of_any_width_gets_every_word(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    out = click.unstyle(shown(Failure(Exit.FAILED, ["one two three"], "four"), Terminal()))
    assert out.split() == ["error:", "one", "two", "three", "hint:", "four"]


def test_what_a_terminal_would_obey_is_escaped():
    assert shown(Failure(Exit.FAILED, ["a\x1b[31m\nb"], "c\x07")) == "error: a\\x1b[31m\\nb\nhint: c\\x07\n"


# The boundary of a program


def program(action):
    return click.Command("it", params=[click.Option(["--size"])], callback=lambda size: action())


def raising(error):
    def action():
        raise error

    return program(action)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/data/x"), "/data/x: no space left on device"),
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: permission denied"),
        (OSError("odd"), "odd"),
        (ZeroDivisionError("secret"), "a fault in it itself: ZeroDivisionError"),
    ],
)
def test_nothing_ends_in_a_traceback_and_everything_in_a_hint(error, said, capsys, monkeypatch):
    monkeypatch.delenv("TUNNEL_TRACEBACK", raising=False)
    assert run_program(raising(error), "it", []) == Exit.FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: {said}"
    assert lines[1].startswith("hint: ")
    assert "secret" not in str(lines)


def test_a_fault_of_ours_shows_where_on_request(monkeypatch):
    monkeypatch.setenv("TUNNEL_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run_program(raising(ZeroDivisionError()), "it", [])


@pytest.mark.parametrize("ending", [click.Abort(), KeyboardInterrupt()])
def test_asked_to_stop_it_says_nothing(ending, capsys):
    assert run_program(raising(ending), "it", []) == 0
    assert capsys.readouterr().err.strip() == ""


def test_another_programs_flag_is_refused_by_its_name(capsys):
    foreign = Foreign(owner="ngrok", flags={"--sice": "use --size"})
    assert run_program(program(dict), "it", ["--sice=1"], foreign=foreign) == Exit.USAGE
    assert capsys.readouterr().err == (
        "error: --sice is not implemented here: it is a flag of ngrok's\nhint: use --size\n"
    )
