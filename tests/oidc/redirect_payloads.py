"""Request targets that have made, or could make, a redirect leave the host it was meant for. Ours, by construction.

Built as products of what browsers and servers read differently (slashes, control characters, escapes, user
information, other schemes, other alphabets) with where it can stand in a target.
"""

from itertools import product

EVIL_HOSTS = (
    "evil.example",
    "evil.example:443",
    "evil.example%2f",
    "3627734734",
    "[::1]",
    "evil\u3002example",
    "app.tun.example.evil.example",
)
LEADS = (
    "//", "///", "////", "/\\", "\\/", "\\\\", "/\\/", "\\\\\\", "/\\\\", "//\\", "/;//", "/.//", "/..//", "/./\\", "/%2f", "/%5c", "/%2f%2f",
    "/%5c%5c", "/%09/", "/\t/", "/\n/", "/\r/", "/\x0b/", "/\x0c/", "/\x00/", "/ /", "/%00/", "/%0a/", "/%0d%0a/", "/%e3%80%82/",
    "/\u3000/", "/\u2028/", "/\xa0/", "/\u200b/", "/\ufeff/", "\t//", " //", "\n//", "/?//", "/#//", "/@", "/.", "/:", "/&//", "/*//",
)  # fmt: skip
SCHEMES = (
    "http://", "https://", "HTTP://", "https:/", "https:", "http:\\\\", "ht\ttps://", "javascript:", "JaVaScRiPt:", "java\nscript:", "data:text/html,",
    "vbscript:", "file:///", "ftp://", "ws://", "blob:", "about:", "view-source:", "x:", "://", ":", "@", "%68ttps://", "\x01https://", "https://app.tun.example@",
    "https://app.tun.example:x@", "https://app.tun.example%40", "https://app.tun.example\\@", "https://app.tun.example#@", "https://app.tun.example?@",
)  # fmt: skip
SPLITS = (
    "\r\nSet-Cookie: a=b",
    "%0d%0aSet-Cookie:%20a=b",
    "\nLocation: //evil.example",
    "\r\n\r\n<script>",
    "\u560d\u560aSet-Cookie: a=b",
    "\x85X: y",
    "\u2029X: y",
)
LONG = ("/" + "a" * 10_000, "/?" + "a=b&" * 4_000, "//" + "a" * 5_000, "/" + "%2f" * 2_000, "/" + "\xe9" * 1_500)
PARAMETERS = ("rd", "url", "next", "return_to", "redirect_uri", "continue", "target", "ReturnUrl", "service", "go")
QUERIES = tuple(
    f"/?{name}={value}"
    for name, value in product(PARAMETERS, ("//evil.example", "https://evil.example", "/\\evil.example"))
)

PAYLOADS = (
    *(lead + host for lead, host in product(LEADS, EVIL_HOSTS)),
    *(scheme + host for scheme, host in product(SCHEMES, EVIL_HOSTS[:4])),
    *("/x" + split for split in SPLITS),
    *LONG,
    *QUERIES,
    "", "/", "*", "?", "#", ".", "..", "/..", "/../..", "/x/../..//evil.example", "evil.example", "app.tun.example",
)  # fmt: skip
