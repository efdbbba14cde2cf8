import pytest

from tunnelctl.agent.watcher import Started
from tunnelctl.cli.view import UrlPrinter, View, choose_view


@pytest.mark.parametrize(
    ("log", "console_ui", "is_terminal", "view"),
    [
        ("", "", True, View(screen=True, log="", prints_url=False)),
        ("", "", False, View(screen=False, log="stderr", prints_url=True)),
        ("stdout", "", True, View(screen=False, log="stdout", prints_url=False)),
        ("stdout", "", False, View(screen=False, log="stdout", prints_url=False)),
        ("stderr", "", False, View(screen=False, log="stderr", prints_url=True)),
        ("false", "", True, View(screen=True, log="", prints_url=False)),
        ("false", "", False, View(screen=False, log="", prints_url=True)),
        ("/tmp/log", "", True, View(screen=True, log="/tmp/log", prints_url=False)),
        ("/tmp/log", "", False, View(screen=False, log="/tmp/log", prints_url=True)),
        ("", "false", True, View(screen=False, log="stdout", prints_url=False)),
        ("", "true", False, View(screen=False, log="stderr", prints_url=True)),
    ],
)
def test_where_words_go(log, console_ui, is_terminal, view):
    assert choose_view(log, console_ui, is_terminal=is_terminal) == view


def test_the_address_is_printed_once_and_again_only_if_it_changes(capsys):
    printer = UrlPrinter(lambda: None)
    for url in ("https://a.example", "https://a.example", "https://b.example"):
        printer.started(Started(name="n", upstream="u", url=url))
    assert capsys.readouterr().out == "https://a.example\nhttps://b.example\n"
