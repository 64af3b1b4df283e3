"""Digests of an audit's figures and its Ed25519 signature, so that a changed figure is found and named."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.errors import ConfigError, InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEAL_KEYS = frozenset({"figures_sha256", "part_sha256", "signature"})
"""What is about the figures and no figure itself; everything else of an audit is covered by the digest."""
KEY_VARIABLE = "UNDERSTUDY_SIGNING_KEY"
"""Environment variable that holds the private key as PEM text."""
PASSWORD_VARIABLE = "UNDERSTUDY_SIGNING_KEY_PASSWORD"  # noqa: S105 - a name, no password
"""Environment variable that holds the password of an encrypted private key."""
MAKE_A_KEY = "make one with `openssl genpkey -algorithm ed25519 -out signing-key.pem`"
_MAX_KEY_BYTES = 64 * 1024
_EXACT = 2**53


def plain(value: Any) -> Any:
    """A value as JSON has it: str, int, float, bool, None, list and dict with text keys only.

    NaN becomes None, and numbers that are whole become int (as in RFC 8785), so that a figure reads the same after any
    JSON library has had it in hand.

    Parameters
    ----------
    value : object
        Built of mappings, sequences, dataclasses, enums, paths, numpy arrays and numbers.

    Raises
    ------
    InvalidInputError
        For an infinite number or a type that JSON has no word for.
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for item in value]
        return sorted(items, key=canonical_json) if isinstance(value, set | frozenset) else items
    raise InvalidInputError(f"an audit holds text, numbers, lists and mappings, got {type(value).__name__}")


def _number(value: float) -> float | int | None:
    if np.isnan(value):
        return None
    if np.isinf(value):
        raise InvalidInputError("an audit holds finite numbers, got an infinite one: write None in its place")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def canonical_json(value: Any) -> bytes:
    """The one way in which a value is written for its digest: sorted keys, no spaces, ASCII, shortest numbers.

    Parameters
    ----------
    value : object
        As for ``plain``.
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.encode("ascii")


def part_digests(audit: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each part of an audit (``table``, ``gates``, ``verdict``, ``collections``, ...), as hexadecimal.

    Parameters
    ----------
    audit : mapping
        What ``audit.json`` holds; the keys in ``SEAL_KEYS`` are left out.
    """
    return {
        name: hashlib.sha256(canonical_json(part)).hexdigest()
        for name, part in sorted(audit.items())
        if name not in SEAL_KEYS
    }


def figures_digest(audit: Mapping[str, Any]) -> str:
    """SHA-256 over all parts of an audit, as hexadecimal; the keys in ``SEAL_KEYS`` are left out.

    Parameters
    ----------
    audit : mapping
        What ``audit.json`` holds.
    """
    return hashlib.sha256(canonical_json(part_digests(audit))).hexdigest()


def sign_report(audit: Mapping[str, Any], key: Ed25519PrivateKey | None = None) -> dict[str, Any]:
    """An audit with the digests of its figures and, with a key, a signature over them: write this one to audit.json.

    Parameters
    ----------
    audit : mapping
        All parts; an older digest or signature in it is replaced.
    key : Ed25519PrivateKey, optional
        From ``load_private_key``; without one the audit is digested and not signed.

    Returns
    -------
    dict
        Plain JSON values: the audit's parts, ``figures_sha256``, ``part_sha256`` {part: hex} and ``signature``, which
        is None without a key.
    """
    parts = {str(name): plain(part) for name, part in audit.items() if name not in SEAL_KEYS}
    digest = figures_digest(parts)
    signature = None if key is None else signature_of(figures_message(digest), key)
    return {**parts, "figures_sha256": digest, "part_sha256": part_digests(parts), "signature": signature}


def figures_message(digest: str) -> bytes:
    """What is signed for the figures."""
    return f"understudy audit, format 1\nfigures {digest}\n".encode("ascii", "backslashreplace")


def page_message(page_digest: str, figures: str) -> bytes:
    """What is signed for a page: its own digest, bound to that of the figures it shows."""
    text = f"understudy report page, format 1\nfigures {figures}\npage {page_digest}\n"
    return text.encode("ascii", "backslashreplace")


def signature_of(message: bytes, key: Ed25519PrivateKey) -> dict[str, str]:
    """An Ed25519 signature (RFC 8032) with the public key that checks it, both in base64."""
    public = key.public_key()
    return {
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(public.public_bytes_raw()).decode(),
        "fingerprint": fingerprint(public),
        "value": base64.b64encode(key.sign(message)).decode(),
    }


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a public key's 32 bytes: what people compare."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def signer(signature: object, message: bytes) -> Ed25519PublicKey | None:
    """The public key under which a signature holds for a message, or None where it holds under none.

    Parameters
    ----------
    signature : mapping
        From ``signature_of``; anything else counts as a signature that does not hold.
    message : bytes
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not isinstance(signature, Mapping) or signature.get("algorithm") != "Ed25519":
        return None
    try:
        raw = base64.b64decode(str(signature.get("public_key")), validate=True)
        public = Ed25519PublicKey.from_public_bytes(raw)
        public.verify(base64.b64decode(str(signature.get("value")), validate=True), message)
    except (ValueError, binascii.Error, InvalidSignature):
        return None
    return public


def load_private_key(path: Path | None = None) -> Ed25519PrivateKey | None:
    """The key to sign with: of a PEM file, else of the environment, else None.

    Parameters
    ----------
    path : Path, optional
        PEM (PKCS 8) with an Ed25519 private key; without it ``UNDERSTUDY_SIGNING_KEY`` is read, which holds the PEM
        text itself. A password is read from ``UNDERSTUDY_SIGNING_KEY_PASSWORD``.

    Raises
    ------
    ConfigError
        Where the file is missing, may be read by others, or holds no Ed25519 private key.
    MissingExtraError
        Where ``cryptography`` is not installed.
    """
    text = os.environ.get(KEY_VARIABLE, "")
    if path is None and not text.strip():
        return None
    where = KEY_VARIABLE if path is None else str(path)
    data = text.encode() if path is None else _key_file(path, private=True)
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise _missing_cryptography() from error
    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or None
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{where} holds no private key that can be read ({error}); {MAKE_A_KEY}, "
            f"and give the password of an encrypted one in {PASSWORD_VARIABLE}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where} holds a key of another kind ({type(key).__name__}), not Ed25519: {MAKE_A_KEY}")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The key to check with, from a PEM file.

    Parameters
    ----------
    path : Path
        Made by `openssl pkey -in signing-key.pem -pubout -out signing-key.pub.pem`.

    Raises
    ------
    ConfigError
        Where the file is missing or holds no Ed25519 public key.
    MissingExtraError
        Where ``cryptography`` is not installed.
    """
    data = _key_file(path, private=False)
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise _missing_cryptography() from error
    advice = "write the public key with `openssl pkey -in signing-key.pem -pubout -out signing-key.pub.pem`"
    if b"PRIVATE KEY" in data:
        raise ConfigError(f"{path} holds a private key, and the public one is needed: {advice}")
    try:
        key = load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no public key that can be read ({error}): {advice}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds a key of another kind ({type(key).__name__}), not Ed25519: {advice}")
    return key


def _key_file(path: Path, *, private: bool) -> bytes:
    try:
        status = path.stat()
        data = path.read_bytes() if status.st_size <= _MAX_KEY_BYTES else b""
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"the key {path} cannot be read ({reason}): check the path, or {MAKE_A_KEY}") from error
    if private and os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the private key {path} can be read by others: run `chmod 600 {path}`")
    return data


def _missing_cryptography() -> MissingExtraError:
    return MissingExtraError("signatures need the package cryptography: install understudy[audit]")
