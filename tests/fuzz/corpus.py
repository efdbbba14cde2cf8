"""Where fuzzing starts from: a few good inputs for each target, once-bad ones, and the words inputs are made of."""

import json

from tests.fuzz.targets_login import CLIENT_ID, ISSUER, NONCE, NOW, SEALED, SIGNER, signature
from tests.wire.pair import EARLY_HINTS, OK, REQUEST
from tunnelctl.oidc.base64url import b64url
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import (
    ABOUT,
    CONTROL,
    DATA,
    DATA_FIN,
    END_FIN,
    GOAWAY,
    HEAD,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    PONG,
    RESET,
    WINDOW,
    frame,
    pack_go_away,
    pack_reset,
    pack_window,
)

CLAIMS = {
    "iss": ISSUER,
    "aud": CLIENT_ID,
    "sub": "alice",
    "nonce": NONCE,
    "iat": int(NOW),
    "exp": int(NOW) + 300,
    "email": "alice@example.com",
    "email_verified": True,
}
LOGOUT = {
    "iss": ISSUER,
    "aud": [CLIENT_ID],
    "sub": "alice",
    "sid": "s1",
    "jti": "j1",
    "iat": int(NOW),
    "exp": int(NOW) + 120,
    "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}//token",
    "jwks_uri": f"{ISSUER}/jwks",
    "userinfo_endpoint": f"{ISSUER}/me",
    "response_types_supported": ["code"],
    "id_token_signing_alg_values_supported": ["ES256", "RS256"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post"],
    "authorization_response_iss_parameter_supported": True,
}
RSA = {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "e": "AQAB", "n": "vv" + "A" * 340}
OKP = {"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
GET = b"GET /a HTTP/1.1\r\nHost: app\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nChecksum: 1\r\n\r\n"
)
HELLO = b'{"type":"hello","version":"1","instance":"i","token":""}'


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def token(claims: object, header: object = None) -> bytes:
    text = f"{b64url(as_json(header or {'alg': 'ES256', 'kid': 'k1'}))}.{b64url(as_json(claims))}"
    return f"{text}.{signature(text)}".encode()


SEEDS: dict[str, tuple[bytes, ...]] = {
    "request_head": (
        b"GET / HTTP/1.1\r\nHost: app",
        b"POST /a?b=c%20d HTTP/1.0\r\nHost: app\r\nContent-Length: 3\r\nConnection: Keep-Alive",
        b"PUT /%2f//x HTTP/1.1\r\nHost: app:80\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nX: \xa0 y \t",
        b"GET /ws HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: null",
        b"OPTIONS * HTTP/1.1\r\nHost: app",
        b"POST / HTTP/1.1\r\nHost: app\r\ntransfer-Encoding: chuNked",
        b"GET http://app/ HTTP/1.1\r\nHost: app\r\nTE: trailers",
    ),
    "request_reader": (
        b"\x00" + GET + POST + GET,
        b"\x06" + POST + CHUNKED + POST,
        b"\x3f" + CHUNKED + CHUNKED + GET,
        b"\x10\r\n" + GET + b"POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nhalf",
        b"\x02" + CHUNKED[:-2] + GET,
        b"\x01" + CHUNKED.replace(b"2;", b"-2;") + GET,
        b"\x05GET / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\n" + GET,
    ),
    "response_head": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: a=b; Path=/",
        b'HTTP/1.0 304\r\nETag: "x"',
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nTrailer: X",
    ),
    "lenient_response": (
        b"HTTP/1.1 200 OK\nContent-Length: 3\nSet-Cookie: a=b; Path=/\n\n",
        b"HTTP/1.1  200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\nContent-Length: 02, 2\r\n\r\n",
        b"HTTP/2.0 999 \r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nX(y): a\r\n\r\n",
        b"HTTP/0.9 204\r\nX: a\x00\x01b\r\r\nConnection: close\n\r\n",
    ),
    "cookie_fields": (
        b"__Host-tunnel=abc; theme=dark",
        b"tunnel=abc\ntunnel=def",
        b'a="; tunnel=abc; b="; \xa0__Host-tunnel=EVIL',
        b"=__Host-tunnel=x; $Version=1; tunnel-tx-0=1; \x85tunnel=x; tunnel",
        b"a=b, tunnel=x;\ttunnel = y ;TUNNEL=z; __host-tunnel-tx-1=2",
    ),
    "set_cookie": (
        b"sid=1; Path=/; HttpOnly; SameSite=Lax",
        b"sid=1; Domain=.tun.example; Secure",
        b"sid=1; domain = app.tun.example ; Max-Age=1",
        b"\xa0__Host-tunnel=x; Domain=tun.example",
        b"Tunnel-tx=1; \x0bDomain=example",
    ),
    "parameters": (
        b"code=abc&state=v1.k.b&iss=https%3A%2F%2Fop.example",
        b"error=access_denied&error_description=%3Cscript%3E&a=&=b",
        b"h=x&h=y&%00=%ff&+=%2B;c",
    ),
    "return_address": (b"/x?y=1", b"//evil.example", b"/\\evil.example", b"/%09/evil.example", b"/\t/evil", b"/#@evil"),
    "sealed_text": (
        *(blob.encode() for blob in SEALED.values()),
        b"v1.new.AAAA",
        b"v1.gone." + b"A" * 60,
        b"v2.new." + b"A" * 60,
    ),
    "sealed_bytes": (b"", b"hello", b"\x00\x7f." * 10),
    "id_token_text": (
        token(CLAIMS),
        token(CLAIMS, {"alg": "none"}),
        token(CLAIMS, {"alg": "ES256", "kid": "k1", "jwk": SIGNER.as_dict(private=False)}),
        b"e30.e30.",
        b"..",
        b"a.b.c.d.e",
    ),
    "id_token_claims": (
        as_json(CLAIMS),
        as_json({**CLAIMS, "aud": [CLIENT_ID, "other"], "azp": CLIENT_ID, "at_hash": "x", "nbf": NOW}),
        as_json({**CLAIMS, "exp": 1e400, "iat": "1", "sub": ""}),
        b'{"alg":"ES256","kid":"k1","typ":"at+jwt"}\n' + as_json(CLAIMS),
        b'{"alg":"ES256","crit":["b64"],"b64":false}\n' + as_json(CLAIMS),
        b'{"sub":"a","sub":"b"}',
    ),
    "logout_claims": (as_json(LOGOUT), as_json({**LOGOUT, "nonce": "n"}), as_json({**LOGOUT, "events": []})),
    "bearer_claims": (
        as_json(CLAIMS),
        as_json({**CLAIMS, "aud": [CLIENT_ID, "account"], "azp": CLIENT_ID}),
        as_json({"iss": ISSUER, "aud": CLIENT_ID, "sub": "ci", "client_id": "ci", "exp": int(NOW) + 1.5, "jti": "1"}),
        as_json({**CLAIMS, "cnf": {"jkt": "x"}, "exp": "9", "iat": None}),
        b'{"alg":"ES256","kid":"k1","typ":"logout+jwt"}\n' + as_json(CLAIMS),
    ),
    "strict_json": (
        b'{"a": [1, 2.5, true, null, "\\u00e4", {}]}',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": 1e999, "b": -0.0}',
        b'{"a": 12345678901234567890123}',
        b"[[[[[[{}]]]]]]",
    ),
    "key_set": (
        as_json({"keys": [SIGNER.as_dict(private=False), RSA, OKP]}),
        as_json({"keys": [{"kty": "oct", "k": "AAAA"}, {**RSA, "use": "enc"}, {**RSA, "key_ops": ["sign"]}]}),
        as_json({"keys": [{**SIGNER.as_dict(private=False), "alg": ["ES256"]}]}),
        as_json({"keys": [{**RSA, "e": "AAAAAAAAAAAB"}, {**OKP, "alg": "EdDSA"}, 7, {}]}),
    ),
    "metadata": (
        as_json(METADATA),
        as_json({**METADATA, "issuer": f"{ISSUER}/", "token_endpoint": "https://op.example@evil.example/"}),
        as_json({**METADATA, "jwks_uri": "https://xn--a/jwks"}),
        as_json({**METADATA, "jwks_uri": "http://127.0.0.1/", "id_token_signing_alg_values_supported": ["none"]}),
    ),
    "base64url": (b"AAAA", b"AB", b"A", b"+/==", b"\xff\xfe"),
    "from_relay": (
        frame(CONTROL, 0, HELLO) + frame(OPEN_FIN, 1, REQUEST) + frame(PING, 0, b"12345678"),
        frame(OPEN, 1, REQUEST) + frame(DATA, 1, b"x" * 20) + frame(END_FIN, 1) + frame(WINDOW, 1, pack_window(5)),
        frame(OPEN_FIN, 1, REQUEST) + frame(ABOUT | OPTIONAL, 1, b'{"address":"192.0.2.7","gate_ns":5}'),
        frame(OPEN, 3, REQUEST) + frame(RESET, 3, pack_reset(Code.CANCELLED, "gone")),
        frame(0x3F | OPTIONAL, 0, b"later") + frame(GOAWAY, 0, pack_go_away(Code.NO_ERROR, 1, "bye")),
    ),
    "from_agent": (
        frame(HEAD, 1, EARLY_HINTS) + frame(HEAD, 1, OK) + frame(DATA_FIN, 1, b"hello"),
        frame(HEAD, 2, OK) + frame(WINDOW, 2, pack_window(1)) + frame(END_FIN, 2, b"Digest: x\r\n"),
        frame(PONG, 0, b"12345678") + frame(CONTROL, 0, b'{"type":"unbind","tunnel":1}'),
        frame(CONTROL, 0, b'{"type":"bind","tunnel":1,"policy":{"jwt":[{"later":1}],"later":{}}}'),
        frame(GOAWAY, 0, pack_go_away(Code.NO_ERROR, 0, "")) + frame(RESET, 1, pack_reset(Code.REFUSED, "")),
    ),
}
"""Target -> inputs. What once broke a reader is added here and stays."""

WORDS: tuple[bytes, ...] = (
    *(b"\r\n", b"\r", b"\n", b"\t", b" ", b";", b",", b"=", b":", b'"', b"\\", b"%", b"&", b"\x00", b"\x0b", b"\x7f"),
    *(b"\x85", b"\xa0", b"\xc2\xa0", b"\xff", b"\xe3\x80\x82", b"//", b"/\\", b"..", b"%2f", b"%0d%0a", b"@", b"#"),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"Host: app\r\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ),
    *(b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n"),
    *(b"tunnel=x", b"__Host-tunnel=x", b"tunnel-tx-1=x", b"$Version=1", b"Domain=tun.example", b"; Domain"),
    *(b'"alg"', b'"none"', b'"HS256"', b'"kid"', b'"crit"', b'"aud"', b'"azp"', b'"exp"', b'"nonce"', b'"events"'),
    *(b"null", b"true", b"-1", b"1e999", b"0.5", b"[]", b"{}", b'"\\ud800"', b'["client"]', b"1800000000"),
    *(frame(DATA, 1, b"x"), frame(HEAD, 1, OK), frame(OPEN, 1, REQUEST), frame(WINDOW, 1, pack_window(2**31 - 1))),
    *(b"v1.", b".new.", b"https://", b"http://", b"javascript:", b"evil.example"),
)
"""What inputs are spliced with: bytes that two readers may take differently, and the keywords of each format."""
