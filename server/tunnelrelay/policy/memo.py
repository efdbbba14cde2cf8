"""The cache of peers' bytes, by the name under which policy has always had it. See `tunnelctl.memo`."""

from tunnelctl.memo import MAX_ENTRIES, Memo

__all__ = ["MAX_ENTRIES", "Memo"]
