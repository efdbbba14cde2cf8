"""The whole schema, tried by schemathesis with a key of an administrator and one of a member: it must find nothing.

`API_EXAMPLES=1000` tries longer.
"""

import subprocess
import sys

import pytest

from tests.api.schema_examples import EXAMPLES, FEW
from tests.support.processes import environment
from tests.support.tools import ROOT


@pytest.mark.thorough
@pytest.mark.timeout(0 if EXAMPLES > FEW else 1200)
@pytest.mark.parametrize(
    "trials",
    [("admin", "member", "made"), ("admin-edges", "made-edges")],
    ids=" ".join,
)
def test_schemathesis_finds_nothing(trials):
    """Rows 140, 142, 146."""
    line = [sys.executable, "-m", "tests.api.try_schema", *trials]
    done = subprocess.run(line, cwd=ROOT, env=environment({}), capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
