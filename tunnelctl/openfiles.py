"""Raises the limit of open files: each connection is one, and many systems allow 1,024 by default and more on
request."""

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module elsewhere


def raise_limit() -> str:
    """Have as many files as the system allows. Returns why the limit stays as it was, "" when it does not."""
    if resource is None:
        return ""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return ""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS refuses some values above its own
        return f"limit={soft} error={error}"
    return ""
