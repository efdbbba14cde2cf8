"""Formats figures for display: rates, shares and durations. Does no I/O."""


def rate(number: float) -> str:
    """Format a number per second for display."""
    return f"{number:.0f}" if number >= 10 or number == 0 else f"{number:.1f}" if number >= 0.095 else "<0.1"


def share(part: float) -> str:
    """Format a fraction from 0 to 1 as percent; a small fraction is never rounded to 0."""
    if 0 < part < 0.001:
        return "<0.1"
    return f"{part * 100:.1f}" if 0 < part < 0.0995 else f"{part * 100:.0f}"


def milliseconds(seconds: float | None) -> str:
    """Format a duration in milliseconds, or in seconds from 1 s; None (unknown) becomes a dash."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
