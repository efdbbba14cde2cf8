"""`tunnel api … --output table`: what people read."""

from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.cli.api_view import MAX_CELL, table

EDGES = {
    "https_edges": [
        {
            "description": "the shop",
            "id": "edghts_1",
            "uri": "https://api.tun.example/edges/https/edghts_1",
            "hostports": ["shop.tun.example:443"],
            "mutual_tls": None,
            "backend": {"id": "bkdtg_1", "uri": "https://api.tun.example/backends/tunnel_group/bkdtg_1"},
            "online": 2,
        },
        {"description": "x" * 200, "id": "edghts_22", "uri": "u", "hostports": [], "mutual_tls": None, "online": 0},
    ],
    "uri": "https://api.tun.example/edges/https",
    "next_page_uri": None,
}


def test_a_list_is_a_table_of_what_says_something_the_id_first():
    head, first, second = table(EDGES).splitlines()

    assert head.split() == ["ID", "DESCRIPTION", "HOSTPORTS", "BACKEND", "ONLINE"]
    assert first.split() == ["edghts_1", "the", "shop", "shop.tun.example:443", "bkdtg_1", "2"]
    assert second.split() == ["edghts_22", "x" * (MAX_CELL - 1) + "…", "0"]
    assert first.index("the shop") == head.index("DESCRIPTION") == second.index("x")


def test_an_empty_list_says_so():
    assert table({"tunnels": [], "uri": "u", "next_page_uri": None}) == "(none)"


def test_one_thing_is_shown_whole_with_what_is_inside():
    routes = [{"id": "r", "enabled": True, "uri": "u"}]

    text = table({"id": "edghts_1", "metadata": "y" * 200, "routes": routes, "empty": [], "none": None, "no": {}})

    assert text.splitlines() == ["id        edghts_1", "metadata  " + "y" * 200, "routes    id=r enabled=yes"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.lists(VALUES, max_size=3))
def test_any_answer_is_lines_that_no_terminal_obeys(answer, rows):
    for text in (table(answer), table({"things": rows, "uri": "u", "next_page_uri": None})):
        assert all(one.isprintable() or one == "\n" for one in text)
