"""How many examples of each operation schemathesis tries."""

import os

FEW = 3
EXAMPLES = int(os.environ.get("API_EXAMPLES", FEW))
