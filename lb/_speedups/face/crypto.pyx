# libcrypto for the control plane: which digests there are, and public keys of files.
from lb._speedups.policy.crypto cimport (
    CRYPTO_DIGESTS, CRYPTO_ECDSA, crypto_knows, crypto_name, crypto_read_pem, crypto_version,
)


def version():
    """Return OpenSSL's version; empty when lb was built without it."""
    return crypto_version().decode()


def digests():
    """Return the numbers of the digests that there are, by name."""
    return {crypto_name(i).decode(): i for i in range(1, CRYPTO_DIGESTS) if crypto_knows(i)}


def read_key(bytes pem not None):
    """Return the public key of a PEM text as (DER, "rsa" | "ec" | "", bits); None when it has none."""
    cdef int kind, bits
    room = bytearray(max(len(pem), 1))
    cdef char *out = room
    n = crypto_read_pem(<char *> pem, len(pem), out, len(room), &kind, &bits)
    if n <= 0:
        return None
    return bytes(room[:n]), "ec" if kind == CRYPTO_ECDSA else "rsa" if kind else "", bits
