"""Masks credentials in everything that is shown of an exchange. Does no I/O.

Everything that leaves the inspector is masked here: the API's JSON, archives, the terminal. Secrets are found by their
place: header fields, cookies, parameters of URLs and forms, members of JSON, elements of XML, fields of HTML. Finally
the redactor of the logs (`tunnelctl.secret`) finds secrets by their form. The replacement `***` reveals nothing about a
secret, not even its length.

Texts are bytes decoded as Latin-1, so that all bytes are preserved; only bodies in UTF-16 and UTF-32 are decoded as
such.
"""

import re
import zlib
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tunnelctl.secret import REDACTED, redact

MASK = "***"
MAX_SHOWN = 64 * 1024
"""Maximum bytes of a body that are shown after decompression."""

_SECRET_NAME = re.compile(
    "token|secret|passw|passphrase|passcode|pwd|apikey|accesskey|authkey|privatekey|signingkey|subscriptionkey"
    "|functionskey|assertion|credential|authorization|jwt|cookie|sessionid|sessid|csrf|xsrf|samlresponse|samlrequest"
    "|bearer"
)
"""Parts of a name (without punctuation) that mark its value as a secret."""
_WHOLE_NAMES = frozenset({"auth", "key", "otp", "pin", "cvc", "cvv", "sid", "session", "ticket"})
"""Names that mark a secret only as the whole name."""
_OF_ADDRESSES = frozenset({"code", "state", "nonce", "sig", "hmac", "h", "sessionstate"})
"""Names that mark a secret in URLs and forms only, as parameters of logins and of signed links. In JSON they have other
meanings."""
_HARMLESS_ENDS = ("endpoint", "supported", "uri", "url", "type", "policy", "expires", "expiresin", "limit", "ttl")
"""Ends of names whose values are about a secret but do not contain it, as in `token_type`."""
_HARMLESS_NAMES = frozenset({"accesscontrolallowcredentials"})
_SHORT_SECRETS = frozenset({"otp", "pin", "cvc", "cvv", "passcode", "password"})
"""Names whose value may be a secret even as a number in JSON. Other names, such as those of token counts, may have
harmless numbers."""
_SCHEMES = frozenset({"basic", "bearer", "digest", "negotiate", "token", "dpop", "aws4-hmac-sha256", "hawk", "apikey"})
_ADDRESS_FIELDS = frozenset({"location", "content-location", "referer", "refresh"})
_LONG_WORD = 24
"""Characters of an item in Sec-WebSocket-Protocol from which it is treated as a secret: programs that cannot set
Authorization put their token there."""
MAX_LEVELS = 3
"""Maximum nesting of JSON in strings of JSON that is searched."""
_COOKIE_ATTRIBUTES = frozenset(
    {"path", "domain", "expires", "max-age", "secure", "httponly", "samesite", "partitioned", "priority"}
)
_CHARSET = re.compile(r"charset=[\"']?([\w-]+)", re.IGNORECASE)
_WIDE_CHARSETS = {
    **dict.fromkeys(
        ("utf-16", "utf-16le", "ucs-2", "iso-10646-ucs-2", "unicode", "csunicode", "unicodefeff"), "utf-16-le"
    ),
    **dict.fromkeys(("utf-16be", "unicodefffe"), "utf-16-be"),
    **dict.fromkeys(("utf-32", "utf-32le"), "utf-32-le"),
    "utf-32be": "utf-32-be",
}
"""Codecs of the encodings in which ASCII characters take several bytes, by the labels of the WHATWG. In Latin-1 no name
of a secret could be found in them."""
_WIDE_BEGINNINGS = (
    (re.compile(rb"\xff\xfe\0\0|[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\xfe\xff|\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"\xff\xfe|[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\xfe\xff|\0[^\0]", re.DOTALL), "utf-16-be"),
)
"""First bytes of texts in these encodings: a byte order mark, or an ASCII character."""
_TEXTS = re.compile(r"text/|application/(x-www-form-urlencoded|.*(json|xml|yaml|javascript|graphql))")
_MEDIA = ("image/", "audio/", "video/", "font/")

_PARAMETER = re.compile(r"(?:(?<=[?&;#\n])|^)([^=&;#?\s\"'<>]{1,128})=([^&;#\s\"'<>]*)")
_LINE = re.compile(r"^((?:\ufeff|\xef\xbb\xbf)?[ \t-]*)([\w.-]{1,64}):([ \t]+)(\S[^\r\n]*)", re.MULTILINE)
"""Matches a line of the form `name: value`, as in YAML and in header fields; the first may follow a byte order mark."""
_USER_INFO = re.compile(r"(?<=://)[^/?#\s@\"<>]{1,512}(?=@)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:(?P<key>"(?=\s{0,64}:))|"|\\?\Z)', re.DOTALL)
"""Matches a string in double quotes. The last one may be cut off; one followed by a colon is a key of JSON."""
_ASSIGNED = re.compile(r"([\w.-]{1,64})\s?[:=]\s?\Z")
"""Matches a name before a string that is assigned to it, as in scripts, settings and HTML: `apiKey: "..."`,
`token="..."`."""
_ASSIGNING = frozenset({":", "="})
_MIN_SECRET = 8
"""Characters below which a text cannot contain a secret with a recognisable form."""
_SCALAR = re.compile(r"\s*:\s*([^\s,\]}{\[]+)")
_ESCAPE = re.compile(r"\\u00([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PART_NAME = re.compile(r"[;\s]name=(?:\"([^\"\r\n]*)|([^;\s\"]+))", re.IGNORECASE)
_ELEMENT = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)(?:\s[^<>]*)?>(?:<!\[CDATA\[)?([^<]*)")
_ATTRIBUTE = re.compile(r"[\s:]([\w.-]{1,64})\s?=\s?(?:\"([^\"<>]*)|'([^'<>]*))")
_INPUT = re.compile(r"<(?:input|meta)\b[^<>]*>", re.IGNORECASE)
_INPUT_NAME = re.compile(r"\s(?:name|id|type)\s?=\s?[\"']?([^\"'\s<>]+)", re.IGNORECASE)
_INPUT_VALUE = re.compile(r"\s(?:value|content)\s?=\s?(?:\"([^\"]*)|'([^']*)|([^\"'\s<>]+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ShownBody:
    """The displayable part of a body.

    Attributes:
        data: Decoded and masked bytes.
        encoding: Content-Encoding of the body; "" for none.
        is_shown: The body could be decoded. Otherwise it is left out, as it could contain anything.
        is_cut: The body is longer than `data`.
    """

    data: bytes
    encoding: str = ""
    is_shown: bool = True
    is_cut: bool = False


def is_secret_name(name: str, *, in_address: bool = False) -> bool:
    """Return whether a name marks its value as a secret.

    Args:
        in_address: The name is a parameter's, in a URL or a form.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain.endswith(_HARMLESS_ENDS) or plain in _HARMLESS_NAMES:
        return False
    if in_address and (plain in _OF_ADDRESSES or plain.endswith("signature")):
        return True
    return bool(_SECRET_NAME.search(plain)) or plain in _WHOLE_NAMES


def mask_field(name: str, value: str) -> str:
    """Return the masked value of a header field, of a request or a response."""
    name = name.lower()
    if name in ("authorization", "proxy-authorization"):
        scheme, blank, _ = value.partition(" ")
        return f"{scheme} {MASK}" if blank and scheme.lower() in _SCHEMES else MASK
    if name == "cookie":
        return "; ".join(_masked_cookie(one) for one in value.split(";"))
    if name == "set-cookie":
        first, *attributes = value.split(";")
        return "; ".join([_masked_cookie(first), *map(_masked_attribute, attributes)])
    if name == "sec-websocket-protocol":
        return ", ".join(MASK if len(one.strip()) >= _LONG_WORD else one.strip() for one in value.split(","))
    if is_secret_name(name.removeprefix("x-")):
        return MASK
    return mask_address(value) if name in _ADDRESS_FIELDS else mask_text(value)


def mask_address(address: str) -> str:
    """Return a URL, or its path and query, with secrets masked."""
    head, mark, query = address.partition("?")
    query, hash_, fragment = query.partition("#")
    return mask_text(f"{head}{mark}{_masked_form(query)}{hash_}{_masked_form(fragment)}")


def mask_text(text: str) -> str:
    """Return any text with secrets masked, including URLs in it."""
    if len(text) < _MIN_SECRET:
        return text
    if "=" in text:
        text = _PARAMETER.sub(_masked_parameter, text)
    if "://" in text:
        text = _USER_INFO.sub(MASK, text)
    return redact(text).replace(REDACTED, MASK)


def show_body(kept: bytes, *, content_type: str, encoding: str, is_whole: bool) -> ShownBody:
    """Return the displayable part of a body.

    Args:
        kept: The beginning of the body, or all of it.
        content_type, encoding: Values of its header fields; "" for none.
        is_whole: `kept` is the whole body.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return ShownBody(_masked_body(kept, content_type), is_cut=not is_whole)
    inflated = _inflated(kept, encoding)
    if inflated is None:
        return ShownBody(b"", encoding, is_shown=not kept, is_cut=not is_whole)
    data, is_all = inflated
    return ShownBody(_masked_body(data, content_type), encoding, is_cut=not (is_whole and is_all))


def _inflated(data: bytes, encoding: str) -> tuple[bytes, bool] | None:
    """Decompress up to `MAX_SHOWN` bytes. Return them, and whether they are all; None when the data is invalid."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    for window in (47, -15):  # gzip or zlib, by their first bytes; some servers send a bare deflate stream
        inflater = zlib.decompressobj(window)
        try:
            inflated = inflater.decompress(data, MAX_SHOWN)
        except zlib.error:
            continue
        return inflated, not (inflater.unconsumed_tail or inflater.unused_data)
    return None


def _masked_body(data: bytes, content_type: str) -> bytes:
    kind = content_type.partition(";")[0].strip().lower()
    codec = _wide_codec(data, kind, content_type)
    if codec:
        return _masked_content(data.decode(codec, "replace"), kind).encode(codec, "replace")
    return _masked_content(data.decode("latin-1"), kind).encode("latin-1")


def _wide_codec(data: bytes, kind: str, content_type: str) -> str:
    """Return the codec of a text in UTF-16 or UTF-32; "" for any other body. The first bytes count before the label."""
    found = _CHARSET.search(content_type)
    label = _WIDE_CHARSETS.get(found[1].lower(), "") if found is not None else ""
    if not label and not _TEXTS.match(kind):
        return ""
    return next((codec for beginning, codec in _WIDE_BEGINNINGS if beginning.match(data)), label)


def _masked_content(text: str, kind: str) -> str:
    is_xml = kind.endswith(("/xml", "+xml"))
    if kind.startswith(_MEDIA) and not is_xml:
        return redact(text).replace(REDACTED, MASK)
    if kind == "application/x-www-form-urlencoded":
        text = _masked_form(text)
    elif kind == "multipart/form-data":
        text = "\r\n--".join(map(_masked_part, text.split("\r\n--")))
    elif kind == "text/html":
        text = _INPUT.sub(_masked_input, text)
    elif is_xml:
        text = _ATTRIBUTE.sub(_masked_value, _ELEMENT.sub(_masked_value, text))
    text = _LINE.sub(_masked_line, text)
    return _masked_strings(text) if '"' in text else mask_text(text)


def _masked_cookie(cookie: str) -> str:
    name, equals, _ = cookie.strip().partition("=")
    return f"{name}={MASK}" if equals else MASK


def _masked_attribute(attribute: str) -> str:
    """Return an attribute of Set-Cookie; unknown text is masked as part of the value, as some servers write values
    wrongly.
    """
    attribute = attribute.strip()
    return attribute if attribute.partition("=")[0].strip().lower() in _COOKIE_ATTRIBUTES else MASK


def _masked_form(text: str) -> str:
    """Return form parameters separated by ampersands, with secret values masked."""
    return "&".join(map(_masked_pair, text.split("&"))) if "=" in text else text


def _masked_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={MASK}" if equals and value and _is_secret_parameter(name) else pair


def _masked_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={MASK}" if found[2] and _is_secret_parameter(found[1]) else found[0]


def _is_secret_parameter(name: str) -> bool:
    if "%" in name:
        name = unquote_to_bytes(name).decode("latin-1")
    return is_secret_name(name, in_address=True)


def _masked_line(found: re.Match[str]) -> str:
    indent, name, blank, _ = found.groups()
    return f"{indent}{name}:{blank}{MASK}" if is_secret_name(name) else found[0]


def _masked_value(found: re.Match[str]) -> str:
    """Return the match of a name with its value masked, which is the last matched group."""
    group = found.lastindex or 1
    if group == 1 or not found[group].strip() or not is_secret_name(found[1]):
        return found[0]
    return _without(found, group)


def _masked_part(part: str) -> str:
    """Return one part of a multipart form, masked if it is a secret."""
    head, blank, _ = part.partition("\r\n\r\n")
    name = _PART_NAME.search(head) if blank else None
    if name is None or not is_secret_name(name[1] if name[1] is not None else name[2], in_address=True):
        return part
    return f"{head}{blank}{MASK}"


def _masked_input(found: re.Match[str]) -> str:
    """Return an input field of an HTML form, or a `meta` element, masked if it is a secret; frameworks put CSRF tokens
    there.
    """
    tag = found[0]
    value = _INPUT_VALUE.search(tag)
    if value is None or not any(map(is_secret_name, _INPUT_NAME.findall(tag))):
        return tag
    return tag[: value.start()] + _without(value, value.lastindex or 0) + tag[value.end() :]


def _without(found: re.Match[str], group: int) -> str:
    """Return a match with this group masked."""
    start = found.start()
    return found[0][: found.start(group) - start] + MASK + found[0][found.end(group) - start :]


def _masked_strings(text: str, level: int = 0) -> str:
    """Return a text with its secret strings in double quotes masked: JSON, text that contains JSON, or text in a
    similar form.

    All strings assigned to secret names, and all strings nested below such a name, are masked. The text between strings
    stays, so that JSON remains valid.

    Args:
        level: Number of strings in which this text itself is nested.
    """
    parts: list[str] = []
    at = depth = 0
    key = ""
    for token in _STRING.finditer(text):
        between = text[at : token.start()]
        at = token.end()
        is_given = bool(key) and not between.strip(": \t\r\n")
        if key or depth:
            depth = _depth(between, depth, begins=bool(key))
        parts.append(_masked_scalar(between, key))
        is_key = token["key"] is not None
        may_be_given = between[-2:-1] in _ASSIGNING or between[-1:] in _ASSIGNING
        assigned = _ASSIGNED.search(between[-67:]) if may_be_given and not (key or is_key) else None
        is_hidden = not is_key and (depth or is_given or (assigned is not None and is_secret_name(assigned[1])))
        parts.append(f'"{MASK}"' if is_hidden else _masked_inside(token[0], level))
        name = _ESCAPE.sub(_unescaped, token[0][1:-1]) if is_key else ""
        key = name if is_secret_name(name) else ""
    return "".join([*parts, _masked_scalar(text[at:], key)])


def _masked_inside(token: str, level: int) -> str:
    """Return a string with secrets in its content masked, as it may contain JSON with escaped quotes."""
    end = '"' if len(token) > 1 and token.endswith('"') else ""
    inside = token[1 : len(token) - len(end)]
    if '\\"' in inside and level < MAX_LEVELS:
        inside = _masked_strings(inside.replace('\\"', '"'), level + 1).replace('"', '\\"')
    else:
        inside = mask_text(inside)
    return f'"{inside}{end}'


def _depth(between: str, depth: int, *, begins: bool) -> int:
    """Return the number of brackets below a secret name that are open after a piece of text.

    Args:
        depth: Number of open brackets before it; 0 outside of secret names.
        begins: A secret name precedes the text, so that the first bracket is its value.
    """
    if not depth and (not begins or between.lstrip(": \t\r\n")[:1] not in ("[", "{")):
        return 0
    for character in between:
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth <= 0:
                return 0
    return depth


def _masked_scalar(between: str, key: str) -> str:
    """Return the text between two strings; a number assigned to a password's name is masked."""
    if key and re.sub("[^a-z]", "", key.lower()) in _SHORT_SECRETS and (number := _SCALAR.match(between)) is not None:
        return f'{between[: number.start(1)]}"{MASK}"{mask_text(between[number.end(1) :])}'
    return mask_text(between)


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else found[2]
