"""The page for trying out: one HTML file without anything from elsewhere, and the policy that holds it to that."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

_BLOCK = "<{0}>(.*?)</{0}>"


def load_page(*, needs_token: bool, max_bytes: int) -> tuple[str, str]:
    """The page, and its Content-Security-Policy.

    Parameters
    ----------
    needs_token : bool
        Show the field for the token.
    max_bytes : int
        Larger files are refused in the page already.

    Returns
    -------
    page : str
        HTML.
    policy : str
        Allows the page's own script and style by their digests, pictures from memory, and requests to this server.
    """
    page = files("understudy.serve").joinpath("page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_digests(page, 'script')}; style-src {_digests(page, 'style')}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = page.replace('data-max-bytes="0"', f'data-max-bytes="{max_bytes}"')
    if needs_token:
        page = page.replace('id="token-row" hidden', 'id="token-row"')
    return page, policy


def _digests(page: str, tag: str) -> str:
    blocks = re.findall(_BLOCK.format(tag), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in blocks)
