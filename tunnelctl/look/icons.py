"""The drawings of the icons: each is the inside of an SVG of 24 by 24 units, drawn with lines."""

import functools
from importlib import resources


@functools.cache
def drawings() -> dict[str, str]:
    """The SVG elements of each icon by its name: one of `icons.txt` a line."""
    source = resources.files("tunnelctl.look").joinpath("icons.txt").read_text("utf-8")
    lines = (line.partition(" ") for line in source.splitlines() if line)
    return {name: drawing for name, _, drawing in lines}


def sprite() -> bytes:
    """One SVG with a symbol for each icon, for pages that refer to `#name` in it."""
    symbols = "".join(
        f'<symbol id="{name}" viewBox="0 0 24 24">{drawing}</symbol>' for name, drawing in drawings().items()
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'.encode()
