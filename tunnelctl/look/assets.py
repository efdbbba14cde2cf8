"""Reads the static files of a package: styles, scripts and images. Each server gives them URLs of its own."""

from dataclasses import dataclass
from importlib import resources

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
"""Media types by the ending of a file's name. Files with other endings, such as licences, are not served."""
LOOK = "tunnelctl.look"
"""Package with the files that the relay's dashboard and the agent's inspector share."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file with its media type and content."""

    content: bytes
    media_type: str


def read_assets(*packages: str) -> dict[str, Asset]:
    """Return the files in `static/` of these packages, by name.

    A later package's file replaces one with an equal name.
    """
    files = [file for package in packages for file in resources.files(package).joinpath("static").iterdir()]
    found = ((file, TYPES.get(file.name.rpartition(".")[2], "")) for file in files)
    return {file.name: Asset(file.read_bytes(), media_type) for file, media_type in found if media_type}
