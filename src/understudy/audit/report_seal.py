"""The seal at a page's end: a digest over every other byte of the page, signed where there is a key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

import understudy
from understudy.audit.signing import page_message, signature_of
from understudy.errors import InvalidInputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AUDIT_ID = "understudy-audit"
SEAL_ID = "understudy-seal"
_END = b"</body>\n</html>\n"
_BLOCK = rb'<script type="application/json" id="%s">(.*?)</script>\n'
_SHEET = re.compile(rb'src="data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)"')


@dataclass(frozen=True)
class SealedPage:
    """A page taken apart."""

    body: bytes
    """All of the page but its seal."""
    audit: dict[str, Any]
    seal: dict[str, Any]
    contact_sheet: bytes | None

    @property
    def digest(self) -> str:
        """SHA-256 of the body, as hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


def data_block(name: str, data: Mapping[str, Any]) -> str:
    """Data inside a page, in a block that no browser runs and no text in it can leave."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # in its order, in which the page is drawn
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def seal_page(body: bytes, figures: str, key: Ed25519PrivateKey | None) -> bytes:
    """Put a seal into a page.

    Parameters
    ----------
    body : bytes
        A page that ends in ``</body>`` and ``</html>``, a line each.
    figures : str
        Digest of the figures that the page shows.
    key : Ed25519PrivateKey or None
        Signs the page's digest together with that of the figures.
    """
    digest = hashlib.sha256(body).hexdigest()
    signature = None if key is None else signature_of(page_message(digest, figures), key)
    seal = {"format": 1, "page_sha256": digest, "renderer": renderer(), "signature": signature}
    return body.removesuffix(_END) + data_block(SEAL_ID, seal).encode() + _END


def open_page(page: bytes, name: str) -> SealedPage:
    """Take a page apart into its body, its figures and its seal.

    Parameters
    ----------
    page : bytes
    name : str
        Of the file, for messages.

    Raises
    ------
    InvalidInputError
        Where the page is cut off, was written by something else, or holds its data more than once.
    """
    if not page.endswith(_END):
        raise InvalidInputError(
            f"{name} is no whole report: it does not end as one does. It was cut off or saved anew by a browser or an "
            "editor; check a copy of the file that `understudy audit` wrote"
        )
    found = {}
    for block in (AUDIT_ID, SEAL_ID):
        matches = list(re.finditer(_BLOCK % block.encode(), page, re.DOTALL))
        if len(matches) != 1:
            raise InvalidInputError(
                f"{name} holds {len(matches)} blocks called {block}, and a report holds one: it was not written by "
                "`understudy audit`, or it was changed; check a copy of the original file"
            )
        try:
            data = json.loads(matches[0][1])
        except ValueError as error:
            raise InvalidInputError(
                f"{name}: its block {block} is no JSON ({error}); check a copy of the original file"
            ) from error
        if not isinstance(data, dict):
            raise InvalidInputError(f"{name}: its block {block} is no mapping; check a copy of the original file")
        found[block] = matches[0], data
    match, seal = found[SEAL_ID]
    return SealedPage(page[: match.start()] + page[match.end() :], found[AUDIT_ID][1], seal, _sheet(page))


def _sheet(page: bytes) -> bytes | None:
    import base64
    import binascii

    match = _SHEET.search(page)
    try:
        return None if match is None else base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None


@cache
def renderer() -> str:
    """The version of understudy, and a digest of all that a page is drawn with: equal where pages come out equal."""
    digest = hashlib.sha256(metadata.version("jinja2").encode())
    folder = resources.files("understudy.audit")
    names = [item.name for item in folder.iterdir() if re.fullmatch(r"(report|plots).*\.py", item.name)]
    for name in sorted(names):
        digest.update(folder.joinpath(name).read_bytes())
    for item in sorted(folder.joinpath("templates").iterdir(), key=lambda item: item.name):
        if item.is_file():
            digest.update(item.read_bytes())
    return f"{understudy.__version__} {digest.hexdigest()[:16]}"
