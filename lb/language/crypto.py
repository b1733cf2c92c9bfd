"""Digests, keys and algorithms as they are written, checked when the configuration is read."""

import base64
import binascii
import re
from functools import cache
from pathlib import Path

from lb.config.suggestion import did_you_mean
from lb.language.error import LanguageError

JWT = {
    name: number
    for number, name in enumerate(
        ["none"] + [f"{kind}{bits}" for kind in ("HS", "RS", "ES", "PS") for bits in (256, 384, 512)]
    )
}
"""Algorithms of JSON Web Signatures (RFC 7518 3.1): JWT_*."""

_CURVE_BITS = {"ES256": 256, "ES384": 384, "ES512": 521}
_VARIABLE = re.compile(r"(proc|sess|txn|req|res|check)\.[A-Za-z0-9_.]+")
_SHA2 = ("224", "256", "384", "512")
KEY_BYTES = 65_536


@cache
def _digests() -> dict[str, int]:
    try:
        # Not at the top: a configuration without digests can be read where nothing is compiled.
        from lb._speedups.face.crypto import digests
    except ImportError:
        return {}
    return digests()


def check_crypto(name: str, at: int) -> None:
    """Raise LanguageError for a converter that lb was built without."""
    if not _digests():
        raise LanguageError(
            f"'{name}' needs OpenSSL's libcrypto, which this lb was built without",
            at,
            "install libssl-dev and build it again",
        )


def check_digest(name: str, text: str, at: int) -> int:
    """Return the number of a digest; raise LanguageError."""
    known = _digests()
    if text.lower() not in known:
        raise LanguageError(f"'{name}': unknown digest '{text}'", at, did_you_mean(text.lower(), known))
    return known[text.lower()]


def check_sha2(name: str, text: str, at: int) -> int:
    """Return the number of the SHA-2 digest with so many bits; raise LanguageError."""
    if text not in _SHA2:
        raise LanguageError(f"'{name}': there is no SHA-2 with {text} bits", at, f"known: {', '.join(_SHA2)}")
    return check_digest(name, f"sha{text}", at)


def check_base64(name: str, text: str, at: int) -> bytes:
    """Return the bytes of an argument written in base64; raise LanguageError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LanguageError(f"'{name}': '{text}' is not base64", at) from None


def check_jwt_algorithm(name: str, text: str, at: int) -> int:
    """Return the number of an algorithm; raise LanguageError."""
    _check_constant(name, text, at)
    if text not in JWT:
        raise LanguageError(f"'{name}': unknown algorithm '{text}'", at, did_you_mean(text, JWT))
    return JWT[text]


def check_jwt_key(name: str, algorithm: int, text: str, folder: str | None, at: int) -> bytes:
    """Return the bytes of a key: the secret itself, or of a public one in a PEM file its DER; raise LanguageError."""
    _check_constant(name, text, at)
    word = next(each for each, number in JWT.items() if number == algorithm)
    if word == "none" or word.startswith("HS"):
        if not text and word != "none":
            raise LanguageError(f"'{name}': the key is empty", at, "an empty key is everybody's")
        return text.encode("utf-8", "surrogateescape")
    if folder is None:
        return b""
    return _public_key(name, word, Path(folder) / text, text, at)


def _public_key(name: str, word: str, path: Path, text: str, at: int) -> bytes:
    from lb._speedups.face.crypto import read_key

    try:
        with path.open("rb") as file:
            pem = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise LanguageError(f"'{name}': '{text}' cannot be read: {error.strerror}", at) from None
    found = read_key(pem) if len(pem) <= KEY_BYTES else None
    if found is None:
        raise LanguageError(f"'{name}': '{text}' has no public key", at, "a key or a certificate in PEM is expected")
    der, kind, bits = found
    wanted = "ec" if word.startswith("ES") else "rsa"
    if kind != wanted:
        raise LanguageError(f"'{name}': the key in '{text}' is not one for {word}", at, f"{wanted.upper()} keys are")
    if kind == "ec" and bits != _CURVE_BITS[word]:
        raise LanguageError(f"'{name}': the key in '{text}' has {bits} bits; {word} needs {_CURVE_BITS[word]}", at)
    if kind == "rsa" and bits < 2048:  # RFC 7518 3.3
        raise LanguageError(f"'{name}': the key in '{text}' has {bits} bits; at least 2048 are needed", at)
    return der


def is_variable(text: str) -> bool:
    """Return whether HAProxy would take an argument for a variable's name."""
    return _VARIABLE.fullmatch(text) is not None


def _check_constant(name: str, text: str, at: int) -> None:
    if is_variable(text):
        raise LanguageError(f"'{name}': '{text}' is a variable, and a constant is needed here", at)
