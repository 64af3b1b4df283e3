"""The audit's report: one page that stands by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.audit.signing import sign_report
from understudy.imaging.files import write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REPORT_NAME = "report.html"


def write_report(
    audit: Mapping[str, Any],
    folder: Path,
    *,
    contact_sheet: bytes | None = None,
    key: Ed25519PrivateKey | None = None,
) -> Path:
    """Write ``report.html``, which holds the figures for people and, once more, for machines.

    The caller signs first and writes ``audit.json`` from what it gets back, then hands the same to this function::

        key = load_private_key(path)              # None where there is none; signing.py
        audit = sign_report(audit, key)           # adds figures_sha256, part_sha256 and signature
        write_atomic(folder / "audit.json", json.dumps(audit, indent=1, allow_nan=False).encode())
        write_report(audit, folder, contact_sheet=sheet, key=key)

    and checks it later with ``report_verify.verify_report``, whose result has ``lines()`` and ``exit_code``.

    Parameters
    ----------
    audit : mapping
        The parts named here, each of which may be missing or empty and is then said to be so.

        - ``format``: 1
        - ``created``: date and time as text, optional
        - ``verdict``: ``{"verdict": "pass"|"fail"|"undecided", "reason": sentence}``; from gates if missing
        - ``gates``: ``[{"name", "verdict", "reason", "holds", "metric", "attribute", "group", "limit", "rule", ...}]``
        - ``table``: ``AuditTable.records()``
        - ``plots``: ``distributions``, ``transitions``, ``roc``, ``cmc``, ``groups`` (see docs/how-to/read-a-report.md)
        - ``collections``: ``{"before"|"after"|"null": {"path", "n_pictures", ..., **folder_digest(folder)}}``
        - ``missing``: ``{section: sentence or list of sentences}``
        - ``config``, ``weights`` {name: sha256}, ``software`` {name: version}, ``how`` {metric: sentence}
    folder : Path
        Where ``report.html`` is written; made where missing.
    contact_sheet : bytes, optional
        PNG or JPEG of pictures of ``after`` (``contact_sheet.contact_sheet``); only where the user asks for pictures.
    key : Ed25519PrivateKey, optional
        Signs the page itself too.

    Returns
    -------
    Path
        ``folder / "report.html"``.
    """
    path = folder / REPORT_NAME
    sealed = sign_report(audit, key)
    del contact_sheet  # shown by the page that follows in the next commits
    write_atomic(path, f"<!doctype html><pre>{sealed['figures_sha256']}</pre>".encode())
    return path
