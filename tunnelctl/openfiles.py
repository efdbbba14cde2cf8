"""Raises the process's limit of open files, as each connection needs one. Many systems allow 1,024 by default, and more
on request.
"""

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module elsewhere


def raise_limit() -> str:
    """Raise the limit of open files to the system's maximum. Return the error, or "" when there was none."""
    if resource is None:
        return ""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return ""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS refuses some values above its own maximum
        return f"limit={soft} error={error}"
    return ""
