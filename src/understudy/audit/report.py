"""The audit's report: one page that stands by itself, with its figures for people and once more for machines."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.audit.report_seal import AUDIT_ID, data_block, seal_page
from understudy.audit.report_sections import GateView, build_sections, gate_views, missing_by_section
from understudy.audit.report_words import VERDICT_WORDS, sentence_case, spoken, verdict_word
from understudy.audit.signing import plain, sign_report
from understudy.errors import InvalidInputError, MissingExtraError
from understudy.imaging.files import write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REPORT_NAME = "report.html"
_IMAGE_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}
_COUNTS = ("n_pictures", "n_images", "n_faces", "n_people", "n_subjects", "n_files", "pictures", "faces", "files", "n")


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
        - ``collections``: ``{"before"|"after"|"null": {"path", "n_pictures", "n_faces", "digest", ...}}``
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
    if key is None:
        sealed["signature"] = plain(audit.get("signature"))
    body = render_page(sealed, contact_sheet)
    write_atomic(path, seal_page(body, sealed["figures_sha256"], key))
    return path


def render_page(audit: Mapping[str, Any], contact_sheet: bytes | None = None) -> bytes:
    """The page without its seal: the same bytes for the same audit, so that a page can be checked by drawing it again.

    Parameters
    ----------
    audit : mapping
        From ``signing.sign_report``.
    contact_sheet : bytes, optional
        PNG or JPEG.

    Raises
    ------
    MissingExtraError
        Where jinja2 is not installed.
    InvalidInputError
        Where the contact sheet is neither PNG nor JPEG.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("the report needs the package jinja2: install understudy[audit]") from error
    templates = resources.files("understudy.audit").joinpath("templates")
    style = templates.joinpath("report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(templates.joinpath("report.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        style=style,
        style_sha256=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        data=data_block(AUDIT_ID, audit),
        sheet=None if contact_sheet is None else _sheet(contact_sheet),
        sections=build_sections(audit),
        **_head(audit),
        **_about(audit),
    )
    return page.encode("utf-8", "backslashreplace")  # a file name that is no UTF-8 is told, not stumbled over


def _head(audit: Mapping[str, Any]) -> dict[str, Any]:
    gates = gate_views(audit)
    verdict = audit.get("verdict") or {}
    key = verdict_word(_first(verdict, ("verdict", "state", "result"))) if verdict else _overall(gates)
    reason = sentence_case(str(_first(verdict, ("reason", "sentence", "message")) or _reason(gates)))
    reason = reason if reason.endswith(".") else f"{reason}."
    return {
        "verdict": {"key": key, "words": VERDICT_WORDS[key], "reason": reason},
        "gates": gates,
        "created": str(audit.get("created") or ""),
        "facts": _facts(audit.get("collections") or {}),
    }


def _first(mapping: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((mapping[name] for name in names if mapping.get(name)), None)


def _overall(gates: Sequence[GateView]) -> str:
    """Fails with any gate that fails, is undecided with any that is and may not be, or without gates."""
    verdicts = {gate.verdict for gate in gates if not gate.allowed}
    return "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts or not gates else "pass"


def _reason(gates: Sequence[GateView]) -> str:
    if not gates:
        return "This audit was run without gates: read the figures."
    named = {
        verdict: [gate.name for gate in gates if gate.verdict == verdict] for verdict in ("fail", "undecided", "pass")
    }
    words = {"fail": "failed", "undecided": "undecided", "pass": "passed"}
    parts = [
        f"{len(names)} {words[verdict]} ({', '.join(dict.fromkeys(names))})"
        for verdict, names in named.items()
        if names
    ]
    return f"Of {len(gates)} gate{'' if len(gates) == 1 else 's'}: {'; '.join(parts)}."


def _facts(collections: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where each collection lies and how much is in it."""
    facts = []
    for name, collection in collections.items():
        if not isinstance(collection, Mapping):
            continue
        where = str(_first(collection, ("path", "folder", "name")) or "")
        count = next((key for key in _COUNTS if isinstance(collection.get(key), int)), None)
        size = "" if count is None else f"{collection[count]:,} {spoken(count.removeprefix('n_')) or 'files'}"
        told = ", ".join(part for part in (size, where) if part)
        if told:
            facts.append((sentence_case(spoken(str(name))), told))
    return facts


def _about(audit: Mapping[str, Any]) -> dict[str, Any]:
    config = audit.get("config") or {}
    level = _find(config, "level")
    percent = (
        f"{100 * level:g} % intervals" if isinstance(level, int | float) else "Intervals (95 % if not told otherwise)"
    )
    return {
        "interval_sentence": f"{percent} are drawn over people, not pictures.",
        "other_missing": missing_by_section(audit).get("", []),
        "signature": _signature(audit.get("signature")),
        "figures_sha256": str(audit.get("figures_sha256", "")),
        "collections": flat(audit.get("collections") or {}),
        "tables": [
            (title, flat(audit[key]))
            for key, title in (("config", "Config"), ("weights", "Weights (SHA-256)"), ("software", "Software"))
            if audit.get(key)
        ],
    }


def _find(mapping: Mapping[str, Any], name: str) -> Any:
    """The first value of that name in nested mappings."""
    if name in mapping:
        return mapping[name]
    inside = (_find(value, name) for value in mapping.values() if isinstance(value, Mapping))
    return next((value for value in inside if value is not None), None)


def _signature(signature: object) -> str:
    if isinstance(signature, Mapping):
        return (
            f"Signed with {signature.get('algorithm')} by the key with the fingerprint {signature.get('fingerprint')}. "
            "That this is so, and whose key it is, only a check with the public key tells."
        )
    return (
        "Not signed. The digests tell an accident; who changes a figure on purpose can compute them again. Give a key "
        "to have the report signed."
    )


def flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as pairs of a dotted name and a text."""
    pairs: list[tuple[str, str]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            pairs += flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            pairs += flat({str(i): item for i, item in enumerate(value)}, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _text(value)))
    return pairs


def _text(value: object) -> str:
    if value == {}:
        return "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value) or "(empty)"


def _sheet(data: bytes) -> dict[str, Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, (width, height) = _IMAGE_TYPES.get(str(image.format)), image.size
    except (UnidentifiedImageError, OSError) as error:
        raise InvalidInputError(f"the contact sheet is no picture: {error}") from error
    if kind is None:
        raise InvalidInputError("the contact sheet must be PNG or JPEG")
    return {"uri": f"data:{kind};base64,{base64.b64encode(data).decode()}", "width": width, "height": height}
