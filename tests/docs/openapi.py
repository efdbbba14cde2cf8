"""The API's schema, as it is packaged for `tunnel api`.

python -m tests.docs.openapi --write  writes it
"""

import json
import sys
from copy import deepcopy
from typing import Any

from tests.docs.api_reference import document
from tests.support.tools import ROOT

PACKAGED = ROOT / "tunnelctl" / "cli" / "openapi.json"


def packaged() -> dict[str, Any]:
    """The schema of any relay: without its addresses and its version."""
    schema = deepcopy(document())
    del schema["servers"], schema["info"]["version"]
    return schema


def text() -> str:
    """The file: one line for each value, so that changes of it can be read."""
    return json.dumps(packaged(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    PACKAGED.write_text(text())
