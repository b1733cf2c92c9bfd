"""Digests, message authentication and signatures of tokens, against hashlib, hmac and tokens made elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit import tokens
from kit.rules import NAMES, image_of, look

from lb._speedups.face.crypto import digests, read_key, version
from lb._speedups.face.testing_rules import Rules
from lb.language.error import LanguageError
from lb.language.expression import Names, parse
from lb.language.program import Program

pytestmark = pytest.mark.skipif(not version(), reason="lb was built without libcrypto")
SETTINGS: dict[str, Any] = {
    "version": 1,
    "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app"}},
    "backends": {
        "app": {"servers": [{"name": "s1", "address": "127.0.0.1:1"}]},
        "other": {"servers": [{"name": "s2", "address": "127.0.0.1:2"}]},
    },
}
HASHLIB = {
    "sha512-224": "sha512_224",
    "sha512-256": "sha512_256",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
    "blake2b512": "blake2b",
    "blake2s256": "blake2s",
}
"""Digests that hashlib calls otherwise."""


def compiled(texts: list[str], names: Names = NAMES) -> Rules:
    program = Program()
    for text in texts:
        program.expression(parse(text, names))
    return Rules(image_of(SETTINGS, program))


def values(texts: list[str], header: str, names: Names = NAMES) -> list[Any]:
    """Return what expressions give for a request with this value in `X-V`."""
    rules = look(compiled(texts, names), f"GET / HTTP/1.1\r\nHost: h\r\nX-V: {header}\r\n\r\n".encode("latin-1"))
    return [rules.sample(i)[2] for i in range(len(texts))]


def test_digests_and_macs_are_those_of_hashlib() -> None:
    dice = random.Random(5)
    known = {name: HASHLIB.get(name, name) for name in digests()}
    known = {name: other for name, other in known.items() if other in hashlib.algorithms_available}
    assert {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "blake2b512"} <= set(known)
    for n in [0, 1, 55, 63, 64, 111, 127, 128, 135, 136, 1000, 5000]:
        value, key = dice.randbytes(n), dice.randbytes(dice.choice([0, 1, 20, 64, 65, 128, 129, 144, 200]))
        written = base64.b64encode(key).decode()
        texts = [f"req.fhdr(x-v),b64dec,digest({name})" for name in known]
        texts += [f"req.fhdr(x-v),b64dec,hmac({name},{written})" for name in known]
        texts += [
            f"req.fhdr(x-v),b64dec,{each}" for each in ("sha1", "md5", "sha2", "sha2(224)", "sha2(384)", "sha2(512)")
        ]
        expected = [hashlib.new(other, value).digest() for other in known.values()]
        expected += [hmac.new(key, value, other).digest() for other in known.values()]
        expected += [
            hashlib.new(each, value).digest() for each in ("sha1", "md5", "sha256", "sha224", "sha384", "sha512")
        ]
        assert values(texts, base64.b64encode(value).decode()) == expected


def test_names_of_digests_are_read_in_any_case() -> None:
    assert values(["req.fhdr(x-v),digest(SHA256)"], "a") == [hashlib.sha256(b"a").digest()]


# NIST's GCM test case 3.
KEY, NONCE = "/v/pkoZlcxxtao+UZzCDCA==", "yv66vvrO263eyviI"
PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
SEALED = bytes.fromhex(
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
)
TAG = base64.b64encode(bytes.fromhex("4d5c2af327cd64a62cf35abd2ba6fab4")).decode()


def test_aes_gcm() -> None:
    opened = f"req.fhdr(x-v),b64dec,aes_gcm_dec(128,{NONCE},{KEY},%s)"
    wrong = base64.b64encode(bytes(16)).decode()
    sealed = base64.b64encode(SEALED).decode()
    texts = [opened % TAG, opened % wrong, opened % "AA==", (opened % TAG).replace("128", "256")]
    assert values(texts, sealed) == [PLAIN, None, None, None]
    texts = [
        f"str({NONCE}),set-var(txn.nonce)",
        f"str({KEY}),set-var(txn.key)",
        "req.fhdr(x-v),b64dec,aes_gcm_enc(128,txn.nonce,txn.key,txn.tag)",
        "var(txn.tag)",
        "req.fhdr(x-v),b64dec,aes_gcm_enc(128,txn.nonce,txn.key,txn.tag),aes_gcm_dec(128,txn.nonce,txn.key,txn.tag)",
        "req.fhdr(x-v),b64dec,aes_gcm_enc(128,txn.none,txn.key,txn.tag)",
    ]
    found = values(texts, base64.b64encode(PLAIN).decode())
    assert found[2:] == [SEALED, TAG.encode(), PLAIN, None]


def test_the_key_of_a_mac_may_be_a_variable() -> None:
    texts = ["str(a2V5),set-var(txn.key)", "req.fhdr(x-v),hmac(sha256,txn.key)", "req.fhdr(x-v),hmac(sha256,txn.none)"]
    assert values(texts, "text")[1:] == [hmac.new(b"key", b"text", "sha256").digest(), None]


@pytest.fixture
def keys(tmp_path: Path) -> Names:
    for path in tokens.KEYS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return replace(NAMES, folder=str(tmp_path))


def key_of(algorithm: str) -> str:
    return f"ec{algorithm[2:]}.pem" if algorithm.startswith("ES") else "rsa.pem"


@pytest.mark.parametrize("algorithm", tokens.TOKENS)
def test_signed_tokens(algorithm: str, keys: Names) -> None:
    text = f"req.fhdr(x-v),jwt_verify({algorithm},{key_of(algorithm)})"
    token = tokens.TOKENS[algorithm]
    rules = compiled([text], keys)

    def verified(token: str) -> Any:
        look(rules, f"GET / HTTP/1.1\r\nHost: h\r\nX-V: {token}\r\n\r\n".encode())
        return rules.sample(0)[2]

    assert verified(token) == 1
    head, payload, signature = token.split(".")
    flipped = "A" if signature[9] != "A" else "B"
    assert verified(f"{head}.{payload}.{signature[:9]}{flipped}{signature[10:]}") == 0
    assert verified(f"{head}.{payload[:-2]}.{signature}") == 0
    assert verified(f"{head}.{payload}.{signature[:-8]}") in (0, -3)
    is_ecdsa = algorithm.startswith("ES")
    assert verified(f"{head}.{payload}.AA") == (-3 if is_ecdsa else 0)
    assert verified(f"{head}.{payload}.A") == -3
    assert verified(f"{head}.{payload}.") == -3
    assert verified(f"{head}.{payload}") == -3
    assert verified(f"{token}.x") == -3
    assert verified(head) == -3
    for other, foreign in tokens.TOKENS.items():
        if other != algorithm:
            assert verified(foreign) == 0, other
    dice = random.Random(algorithm)
    for _ in range(50):
        noise = dice.randbytes(dice.choice([1, 63, 64, 96, 132, 256, 257, 600, 1200]))
        made = base64.urlsafe_b64encode(noise).decode().rstrip("=")
        assert verified(f"{head}.{payload}.{made}") == (-3 if is_ecdsa and len(noise) % 2 else 0)
    assert verified(token) == 1


def test_a_certificate_has_a_key_too(keys: Names) -> None:
    text = "req.fhdr(x-v),jwt_verify(RS256,cert.pem)"
    assert values([text], tokens.TOKENS["RS256"], keys) == [1]


def test_more_keys_than_are_kept_take_turns(tmp_path: Path) -> None:
    """The door keeps 64 keys; one that was given back is read again."""
    der, _, _ = read_key((tokens.KEYS / "rsa.pem").read_bytes()) or (b"", "", 0)
    at = der.index(b"\x02\x82\x01\x01\x00") + 20
    names = replace(NAMES, folder=str(tmp_path))
    for i in range(80):
        other = der[:at] + bytes([i]) + der[at + 1 :]
        pem = base64.encodebytes(other).decode()
        (tmp_path / f"{i}.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
    (tmp_path / "rsa.pem").write_bytes((tokens.KEYS / "rsa.pem").read_bytes())
    texts = ["req.fhdr(x-v),jwt_verify(RS256,rsa.pem)"]
    texts += [f"req.fhdr(x-v),jwt_verify(RS256,{i}.pem)" for i in range(80)]
    rules = look(compiled(texts, names), f"GET / HTTP/1.1\r\nHost: h\r\nX-V: {tokens.TOKENS['RS256']}\r\n\r\n".encode())
    for _ in range(3):
        found = [rules.sample(i)[2] for i in range(len(texts))]
        assert found[0] == 1
        assert sum(found) <= 2


def secret_token(algorithm: str, digest: str, key: bytes) -> str:
    def url64(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    head = url64(b'{"alg":"%s"}' % algorithm.encode())
    text = f"{head}.{url64(b'{}')}"
    return f"{text}.{url64(hmac.new(key, text.encode(), digest).digest())}"


def test_tokens_with_a_secret() -> None:
    for bits in (256, 384, 512):
        token = secret_token(f"HS{bits}", f"sha{bits}", b"s3cret")
        texts = [f"req.fhdr(x-v),jwt_verify(HS{bits},{key})" for key in ("s3cret", "s3creT", "s")]
        texts += [f"req.fhdr(x-v),jwt_verify(HS{other},s3cret)" for other in (256, 384, 512) if other != bits]
        assert values(texts, token) == [1, 0, 0, 0, 0]


def test_what_a_token_says_of_itself_does_not_count() -> None:
    unsigned = "eyJhbGciOiJub25lIn0.e30."
    assert values(["req.fhdr(x-v),jwt_verify(HS256,k)", "req.fhdr(x-v),jwt_verify(none,)"], unsigned) == [-3, 1]
    signed = secret_token("HS256", "sha256", b"k")
    assert values(["req.fhdr(x-v),jwt_verify(HS256,k)", "req.fhdr(x-v),jwt_verify(none,)"], signed) == [1, 0]


def test_the_secret_key_of_one_kind_is_no_key_of_the_other(keys: Names) -> None:
    """A token authenticated with the text of a public key is not one that its owner signed."""
    forged = secret_token("HS256", "sha256", (tokens.KEYS / "rsa.pem").read_bytes())
    assert values(["req.fhdr(x-v),jwt_verify(RS256,rsa.pem)"], forged, keys) == [0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("str(a),digest(sha257)", "unknown digest 'sha257'"),
        ("str(a),sha2(128)", "no SHA-2 with 128 bits"),
        ("str(a),hmac(sha256,k€y)", "is not base64"),
        ("str(a),aes_gcm_dec(64,AA==,AA==,AA==)", "unknown size of a key '64'"),
        ("str(a),jwt_verify(HS257,k)", "unknown algorithm 'HS257'"),
        ("str(a),jwt_verify(hs256,k)", "unknown algorithm 'hs256'"),
        ("str(a),jwt_verify(HS256,)", "the key is empty"),
        ("str(a),jwt_verify(txn.alg,k)", "'txn.alg' is a variable"),
        ("str(a),jwt_verify(RS256,nope.pem)", "'nope.pem' cannot be read"),
        ("str(a),jwt_verify(RS256,ec256.pem)", "is not one for RS256"),
        ("str(a),jwt_verify(ES256,rsa.pem)", "is not one for ES256"),
        ("str(a),jwt_verify(ES256,ec384.pem)", "has 384 bits; ES256 needs 256"),
        ("str(a),jwt_verify(RS256,empty)", "has no public key"),
    ],
)
def test_mistakes(text: str, says: str, keys: Names, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(LanguageError, match=re.escape(says)):
        parse(text, keys)


@pytest.mark.parametrize("text", ["src,sha1", "src,md5", "src,digest(md5)", "str(a),jwt_verify(none,)"])
def test_without_libcrypto_they_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.language.crypto._digests", dict)
    with pytest.raises(LanguageError, match="needs OpenSSL's libcrypto") as caught:
        parse(text, NAMES)
    assert "libssl-dev" in caught.value.hint
