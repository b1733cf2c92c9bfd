"""libcrypto for the control plane: which digests there are, and public keys of files."""

def version() -> str:
    """Return OpenSSL's version; empty when lb was built without it."""

def digests() -> dict[str, int]:
    """Return the numbers of the digests that there are, by name."""

def read_key(pem: bytes) -> tuple[bytes, str, int] | None:
    """Return the public key of a PEM text as (DER, "rsa" | "ec" | "", bits); None when it has none."""
