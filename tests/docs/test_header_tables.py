"""docs/reference/headers.md against the relay's table of what apps believe."""

from tests.docs.header_tables import BEGIN, END, PAGE, table


def test_the_docs_list_every_field_that_is_taken_out_of_requests() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]

    assert written.strip() == table().strip(), "run python -m tests.docs.header_tables --write"
