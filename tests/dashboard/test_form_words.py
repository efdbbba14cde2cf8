"""Findings on a form speak of its fields."""

import re

import pytest

from tests.support.tools import ROOT
from tunnelrelay.dashboard.form_words import LABELS, form_words

FLAG = re.compile(r"--(?:oidc|issuer)(?:-[a-z]+)*")


def test_flags_become_labels_and_backticks_code() -> None:
    said = form_words("use `--oidc-email-verified assumed` when it is `false`; --oidc-groups-claim names the claim")

    assert "--" not in said
    assert "`" not in said
    assert "“Groups claim” names the claim" in said
    assert "<code>false</code>" in said


@pytest.mark.parametrize("text", ["<script>", "`<script>`", "--oidc <script>"])
def test_what_a_provider_says_is_text(text: str) -> None:
    assert "<script>" not in form_words(text)


def test_every_flag_that_a_finding_can_name_has_a_label() -> None:
    files = [*(ROOT / "tunnelctl/oidc").glob("*.py"), ROOT / "server/tunnelrelay/oidc/providers/check.py"]
    named = {flag for file in files for flag in FLAG.findall(file.read_text(encoding="utf-8"))}

    assert named
    assert named <= {label.partition(" ")[0] for label in LABELS}
