import io

import pytest

from tunnelctl.secret_source import SecretMissing, read_secret


def read(text, environ=None, stdin=""):
    return read_secret(text, what="--authtoken", environ=environ or {}, stdin=io.StringIO(stdin))


def test_a_variable_a_file_or_standard_input_can_hold_it(tmp_path):
    """Row 156."""
    (tmp_path / "t").write_text("from-file\n")
    assert read("env:T", {"T": "from-env\n"}).value == "from-env"
    assert read(f"file:{tmp_path / 't'}").value == "from-file"
    assert read("-", stdin="from-stdin\nsecond line\n").value == "from-stdin"


def test_only_a_secret_on_the_command_line_is_literal():
    assert read("itself").is_literal
    assert not read("env:T", {"T": "x"}).is_literal


@pytest.mark.parametrize("text", ["env:NOPE", "file:/no/such/file", "file:/", "-", "", " "])
def test_a_secret_that_is_not_there_is_an_error(text):
    with pytest.raises(SecretMissing, match="--authtoken: "):
        read(text)


@pytest.mark.parametrize("value", ["two\nlines", "esc\x1b", "naïve"])
def test_what_cannot_stand_in_a_header_is_refused_without_being_repeated(value):
    with pytest.raises(SecretMissing) as caught:
        read("env:T", {"T": value})
    assert value not in str(caught.value)


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(SecretMissing):
        read("file:/dev/zero")


def test_a_secret_does_not_show_in_a_traceback():
    """Row 158."""
    assert "itself" not in repr(read("itself"))
