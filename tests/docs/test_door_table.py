"""The table of listeners in the docs against the relay's."""

from tests.docs.door_table import BEGIN, END, PAGE, table


def test_the_docs_say_what_each_listener_does_by_the_settings() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]

    assert written.strip() == table(), "run python -m tests.docs.door_table --write"
