"""The icons: each is the content of an SVG of 24 by 24 units, drawn with lines."""

import functools
from importlib import resources


@functools.cache
def drawings() -> dict[str, str]:
    """Return the SVG elements of each icon by name, from the lines of `icons.txt`."""
    source = resources.files("tunnelctl.look").joinpath("icons.txt").read_text("utf-8")
    lines = (line.partition(" ") for line in source.splitlines() if line)
    return {name: drawing for name, _, drawing in lines}


def sprite() -> bytes:
    """Return one SVG with a symbol for each icon, for pages that refer to `#name` in it."""
    symbols = "".join(
        f'<symbol id="{name}" viewBox="0 0 24 24">{drawing}</symbol>' for name, drawing in drawings().items()
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'.encode()
