"""Write figures for people: rates, shares and durations. Pure."""


def rate(number: float) -> str:
    """Format a rate per second."""
    return f"{number:.0f}" if number >= 10 or number == 0 else f"{number:.1f}" if number >= 0.095 else "<0.1"


def share(part: float) -> str:
    """Format a share of one in percent; it shows 0 only for 0."""
    if 0 < part < 0.001:
        return "<0.1"
    return f"{part * 100:.1f}" if 0 < part < 0.0995 else f"{part * 100:.0f}"


def milliseconds(seconds: float | None) -> str:
    """Format a short duration; a dash when it is unknown."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
