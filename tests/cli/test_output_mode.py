import pytest

from tunnelctl.agent.watcher import Started
from tunnelctl.cli.output_mode import OutputMode, UrlPrinter, choose_output_mode


@pytest.mark.parametrize(
    ("log", "console_ui", "is_terminal", "mode"),
    [
        ("", "", True, OutputMode(screen=True, log="", prints_url=False)),
        ("", "", False, OutputMode(screen=False, log="stderr", prints_url=True)),
        ("stdout", "", True, OutputMode(screen=False, log="stdout", prints_url=False)),
        ("stdout", "", False, OutputMode(screen=False, log="stdout", prints_url=False)),
        ("stderr", "", False, OutputMode(screen=False, log="stderr", prints_url=True)),
        ("false", "", True, OutputMode(screen=True, log="", prints_url=False)),
        ("false", "", False, OutputMode(screen=False, log="", prints_url=True)),
        ("/tmp/log", "", True, OutputMode(screen=True, log="/tmp/log", prints_url=False)),
        ("/tmp/log", "", False, OutputMode(screen=False, log="/tmp/log", prints_url=True)),
        ("", "false", True, OutputMode(screen=False, log="stdout", prints_url=False)),
        ("", "true", False, OutputMode(screen=False, log="stderr", prints_url=True)),
    ],
)
def test_where_words_go(log, console_ui, is_terminal, mode):
    assert choose_output_mode(log, console_ui, is_terminal=is_terminal) == mode


def test_the_address_is_printed_once_and_again_only_if_it_changes(capsys):
    printer = UrlPrinter(lambda: None)
    for url in ("https://a.example", "https://a.example", "https://b.example"):
        printer.started(Started(name="n", upstream="u", url=url))
    assert capsys.readouterr().out == "https://a.example\nhttps://b.example\n"


def test_an_address_with_control_characters_is_printed_as_one_line_without_them(capsys):
    UrlPrinter(lambda: None).started(Started(name="n", upstream="u", url="https://a.example\x1b[2J\nb"))
    assert capsys.readouterr().out == "https://a.example\\x1b[2J\\nb\n"
