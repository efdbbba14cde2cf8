"""Row 153. What the inspector shows of an exchange holds no credential, wherever one stands in it."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.canaries import Canaries
from tunnelctl.inspector.masking import MASK, MAX_SHOWN, is_secret_name, mask_address, mask_field, show_body

CANARY = "q7f3c0ffee7f3c0ffee7f3z"
JWT = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.{CANARY}"


def body(data: bytes | str, content_type: str = "", encoding: str = "") -> bytes:
    text = data.encode() if isinstance(data, str) else data
    return show_body(text, content_type=content_type, encoding=encoding, is_whole=True).data


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", f"Bearer {CANARY}", "Bearer ***"),
        ("authorization", f"Basic {CANARY}", "Basic ***"),
        ("Authorization", CANARY, "***"),
        ("Authorization", f"{CANARY} x", "***"),
        ("Proxy-Authorization", f"Basic {CANARY}", "Basic ***"),
        ("Cookie", f"a={CANARY}; b={CANARY}", "a=***; b=***"),
        ("Cookie", CANARY, "***"),
        ("Set-Cookie", f"sid={CANARY}; Path=/; HttpOnly; SameSite=Lax", "sid=***; Path=/; HttpOnly; SameSite=Lax"),
        ("Set-Cookie", f"sid=a; {CANARY}; Path=/", "sid=***; ***; Path=/"),
        ("X-Tunnel-Assertion", JWT, "***"),
        ("X-Auth-Request-Access-Token", CANARY, "***"),
        ("X-Api-Key", CANARY, "***"),
        ("apikey", CANARY, "***"),
        ("Ocp-Apim-Subscription-Key", CANARY, "***"),
        ("X-Amz-Security-Token", CANARY, "***"),
        ("X-CSRF-Token", CANARY, "***"),
        ("X-Vault-Token", CANARY, "***"),
        ("X-Auth", CANARY, "***"),
        ("X-Session", CANARY, "***"),
        ("X-Amzn-Oidc-Data", JWT, "***"),
        ("Sec-WebSocket-Protocol", f"graphql-ws, {CANARY}zzz", "graphql-ws, ***"),
        ("Location", f"/cb?code={CANARY}&state={CANARY}'x", "/cb?code=***&state=***"),
        ("Location", f"/cb#id_token={CANARY}&x=1", "/cb#id_token=***&x=1"),
        ("Referer", f"https://a.example/?access%5Ftoken={CANARY}&page=2", "https://a.example/?access%5Ftoken=***&page=2"),
        ("Link", f"<https://u:{CANARY}@a.example/x>; rel=next", "<https://***@a.example/x>; rel=next"),
    ],
)  # fmt: skip
def test_row153_a_header_field_shows_no_credential(name, value, shown):
    assert mask_field(name, value) == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "demo.tun.example"), ("Accept", "text/html;q=0.9,*/*"), ("X-Tunnel-Email", "ann@acme.com"),
        ("Access-Control-Allow-Credentials", "true"), ("X-Hub-Signature-256", "sha256=00ff"), ("ETag", '"abc"'),
        ("Content-Type", "text/html; charset=utf-8"), ("Idempotency-Key", "1"), ("X-Forwarded-For", "203.0.113.9"),
        ("Set-Cookie2", ""), ("Location", "/orders?page=2&sort=asc"),
    ],
)  # fmt: skip
def test_what_is_no_credential_stays(name, value):
    assert mask_field(name, value) in (value, MASK if name == "Set-Cookie2" else value)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/cb?code={CANARY}&state={CANARY}", "/cb?code=***&state=***"),
        (f"/x?a=1;token={CANARY}", "/x?a=1;token=***"),
        (f"/x?q=1&X-Amz-Signature={CANARY}&sig={CANARY}", "/x?q=1&X-Amz-Signature=***&sig=***"),
        (f"/x?to%6Ben={CANARY}'{CANARY}", "/x?to%6Ben=***"),
        (f"/x?refresh_token={CANARY}<{CANARY}&ok=1", "/x?refresh_token=***&ok=1"),
        (f"/reset/{JWT}", "/reset/***"),
        (f"/{'x' * 200}?{'y' * 200}=1&client_secret={CANARY}", f"/{'x' * 200}?{'y' * 200}=1&client_secret=***"),
        ("/x?page=2&code", "/x?page=2&code"),
    ],
)
def test_row153_a_target_shows_no_credential(target, shown):
    assert mask_address(target) == shown


FORM = "application/x-www-form-urlencoded"
MULTIPART = (
    "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{0}\r\n{0}\r\n--b\r\n"
    "Content-Disposition: form-data; name=\"note\"; filename=\"a\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    "--b--\r\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "content_type", "shown"),
    [
        (f"user=ann&password={CANARY}'<\"; {CANARY}&x=1", FORM, "user=ann&password=***&x=1"),
        (f"grant_type=code&code={CANARY}", FORM, "grant_type=code&code=***"),
        (f"user=ann&password={CANARY}", "", "user=ann&password=***"),
        (f'{{"access_token": "{CANARY}", "n": 1}}', "application/json", '{"access_token": "***", "n": 1}'),
        (f'{{"a":{{"clientSecret":"{CANARY}\\"x{CANARY}"}}}}', "application/json", '{"a":{"clientSecret":"***"}}'),
        (f'{{"pass\\u0077ord":"{CANARY}"}}', "text/plain", '{"pass\\u0077ord":"***"}'),
        (f'{{"tokens":["{CANARY}",{{"v":"{CANARY}"}}],"b":"c"}}', "", '{"tokens":["***",{"v":"***"}],"b":"c"}'),
        (f'{{"token":"{CANARY}', "application/json", '{"token":"***"'),
        ('{"pin": 123456, "max_tokens": 128}', "application/json", '{"pin": "***", "max_tokens": 128}'),
        ('{"token_type":"Bearer","code":"x"}', "application/json", '{"token_type":"Bearer","code":"x"}'),
        (f'data: {{"token":"{CANARY}"}}\n\n', "text/event-stream", 'data: {"token":"***"}\n\n'),
        (
            f"<a><ns:Password t='1'>{CANARY}</ns:Password></a>",
            "text/xml",
            "<a><ns:Password t='1'>***</ns:Password></a>",
        ),
        (f'<a apiKey="{CANARY}" b="c"/>', "application/soap+xml", '<a apiKey="***" b="c"/>'),
        (f'<input name="csrf_token" value="{CANARY}">', "text/html", '<input name="csrf_token" value="***">'),
        (f"<meta name='csrf-token' content='{CANARY}'>", "text/html", "<meta name='csrf-token' content='***'>"),
        (f'<a href="/x?token={CANARY}">x</a>', "text/html", '<a href="/x?token=***">x</a>'),
        (f'{{"m":"{{\\"token\\":\\"{CANARY}\\"}}"}}', "", '{"m":"{\\"token\\":\\"***\\"}"}'),
        (
            f'const config = {{apiKey: "{CANARY}", name: "x"}}',
            "text/javascript",
            'const config = {apiKey: "***", name: "x"}',
        ),
        (f'client_secret = "{CANARY}"', "text/plain", 'client_secret = "***"'),
        (f'password="{CANARY}', "", 'password="***"'),
        ('{"passwords": null, "b": ["c"]}', "", '{"passwords": null, "b": ["c"]}'),
        ('{"tokens": [], "b": ["c", {}]}', "", '{"tokens": [], "b": ["c", {}]}'),
        (
            f"a: 1\nservice:\n  api_key: {CANARY} x\n- token: '{CANARY}'\n",
            "text/yaml",
            "a: 1\nservice:\n  api_key: ***\n- token: ***\n",
        ),
        (f"A=1\nAPI_KEY={CANARY}\n", "text/plain", "A=1\nAPI_KEY=***\n"),
        (f'{{"{JWT}": 1}}', "application/json", '{"***": 1}'),
        (f"log: got {JWT} here", "text/plain", "log: got *** here"),
        (f"Authorization: Bearer {CANARY}", "text/plain", "Authorization: ***"),
    ],
)
def test_row153_a_body_shows_no_credential(text, content_type, shown):
    assert body(text, content_type).decode() == shown


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("is_labelled", [True, False])
@pytest.mark.parametrize("charset", ["utf-16le", "utf-16be", "utf-32le", "utf-32be"])
@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        (
            f'{{"password": "{CANARY}", "name": "Zo\u0117"}}',
            "application/json",
            '{"password": "***", "name": "Zo\u0117"}',
        ),
        (f"token={CANARY}&page=2", "application/x-www-form-urlencoded", "token=***&page=2"),
        (f"password: {CANARY}\n", "text/yaml", "password: ***\n"),
    ],
)
def test_row153_a_body_in_wide_characters_shows_no_credential(text, kind, shown, charset, is_labelled, mark):
    """The page decodes what its label names, and secrets are found by names in ASCII."""
    content_type = f"{kind}; charset={charset}" if is_labelled else kind
    assert body(f"{mark}{text}".encode(charset), content_type).decode(charset) == f"{mark}{shown}"
    assert body(f"{mark}{text}", kind) == f"{mark}{shown}".encode()
    cut = f"{mark}{text}".encode(charset)[:-1]
    assert CANARY not in body(cut, content_type).decode(charset, "replace")


def test_row153_a_form_with_files_shows_no_credential():
    assert body(MULTIPART.format(CANARY), "multipart/form-data; boundary=b").decode() == MULTIPART.replace(
        "{0}\r\n{0}", MASK
    )


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        (" GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
    ],
)
def test_a_compressed_body_is_shown_decoded_and_masked(encoding, compress):
    shown = show_body(compress(f'{{"token":"{CANARY}"}}'.encode()), content_type="", encoding=encoding, is_whole=True)
    assert (shown.data, shown.is_shown, shown.is_cut) == (b'{"token":"***"}', True, False)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip"])
def test_a_body_that_cannot_be_decoded_is_left_out(encoding):
    shown = show_body(CANARY.encode(), content_type="", encoding=encoding, is_whole=True)
    assert (shown.data, shown.is_shown) == (b"", False)


def test_row155_a_bomb_inflates_to_its_bound():
    bomb = gzip.compress(b"\0" * 60_000_000)
    assert len(bomb) < 64 * 1024
    shown = show_body(bomb, content_type="", encoding="gzip", is_whole=True)
    assert (len(shown.data), shown.is_cut) == (MAX_SHOWN, True)


def test_bytes_that_are_no_text_come_through_as_they_are():
    data = bytes(range(256)) * 4
    assert body(data) == data
    assert body(data, "image/png") == data


NAMES = st.sampled_from(
    ["password", "access_token", "idToken", "API-KEY", "client_secret", "refreshToken", "new_password", "X-Auth-Token"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(name=NAMES, before=TEXTS, after=TEXTS, plain=PLAIN, indent=st.sampled_from([None, 2]), is_ascii=st.booleans())
def test_no_json_shows_the_value_of_a_secret_name(name, before, after, plain, indent, is_ascii):
    canaries = Canaries()
    secret = f"{before}{canaries.plant('json')}{after}"
    for value in (secret, [secret, plain], {"x": plain, "y": {"z": secret}}):
        text = json.dumps([plain, {"k": plain, name: value, "l": plain}], indent=indent, ensure_ascii=is_ascii)
        shown = body(text, "application/json")
        assert canaries.leaks({"body": shown}) == []
        json.loads(shown)


@given(
    name=NAMES, value=st.text(max_size=40), others=st.lists(st.tuples(TEXTS, TEXTS), max_size=4), at=st.integers(0, 4)
)
def test_no_form_shows_the_value_of_a_secret_name(name, value, others, at):
    from urllib.parse import quote_plus

    canaries = Canaries()
    pairs = [(quote_plus(one), quote_plus(two)) for one, two in others]
    # A browser escapes what would end the value; programs often escape nothing.
    for secret in (quote_plus(value, errors="replace"), value.replace("&", "")):
        text = f"{secret}{canaries.plant('form')}"
        joined = "&".join(f"{one}={two}" for one, two in [*pairs[:at], (name, text), *pairs[at:]])
        assert canaries.leaks({"body": body(joined.encode("utf-8", "replace"), FORM)}) == []
        if joined.isascii() and joined.isprintable() and "#" not in joined and "?" not in joined:
            assert canaries.leaks({"target": mask_address(f"/x?{joined}").encode()}) == []


@given(data=st.binary(max_size=2000), kind=st.sampled_from(["", FORM, "text/html", "text/xml", "application/json"]))
def test_any_bytes_can_be_shown(data, kind):
    show_body(data, content_type=kind, encoding="", is_whole=True)
    show_body(data, content_type=kind, encoding="gzip", is_whole=False)


@pytest.mark.parametrize(
    "nasty", ['"' * 60_000, '"\\' * 30_000, "{" * 60_000, "=" * 60_000, "a=" * 30_000, "<a " * 20_000, '"a":' * 15_000,
              "<input " * 9_000, "content-disposition: name=" * 2_500, "content-disposition: " * 3_000, "://" * 20_000,
              "<a b='" * 10_000, "- " * 30_000,
     "a: " * 20_000, "\n" * 60_000, "\n-" * 30_000,
              " " * 60_000, ' ' * 60_000 + '"', '" ' * 30_000, "<" + "a" * 60_000, "name=" * 12_000]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["application/json", FORM, "text/html", "text/xml", "multipart/form-data"])
@pytest.mark.timeout(10)
def test_row155_no_text_takes_long_to_mask(nasty, kind):
    """What takes the square of 60,000 steps would take an hour."""
    body(nasty, kind)


@pytest.mark.parametrize(
    "name", ["token_type", "authorization_endpoint", "cookie_policy", "page", "keyboard", "status"]
)
def test_names_that_only_sound_like_secrets_are_none(name):
    assert not is_secret_name(name)
