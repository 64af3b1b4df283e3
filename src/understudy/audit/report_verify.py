"""Whether a report is what the audit wrote: figures, page, signature and, with the folders at hand, the pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.audit.folders import collection_digest, open_collection
from understudy.audit.report import REPORT_NAME, render_page
from understudy.audit.report_seal import SealedPage, open_page, renderer
from understudy.audit.signing import (
    SEAL_KEYS,
    figures_digest,
    figures_message,
    fingerprint,
    load_public_key,
    page_message,
    part_digests,
    signer,
)
from understudy.audit.study import pair_collections
from understudy.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

AUDIT_NAME = "audit.json"
EXIT_CHANGED = 4


class State(StrEnum):
    """What a check found."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "not checked"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """"figures", "page", "signature", "audit.json" or the role of a collection."""
    state: State
    said: str
    """One sentence: what was found and, where it is bad, what to do."""


@dataclass(frozen=True)
class VerifyResult:
    """All checks of one report."""

    path: Path
    checks: tuple[Check, ...]
    changed_parts: tuple[str, ...] = field(default=())
    """Parts of the audit whose figures are not those of their digest, such as "table" or "verdict"."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found to be wrong; what was not checked is no fault."""
        return all(check.state is not State.BAD for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 where nothing is wrong, else 4."""
        return 0 if self.ok else EXIT_CHANGED

    def state(self, name: str) -> State | None:
        """What the check of that name found; None where there was none."""
        return next((check.state for check in self.checks if check.name == name), None)

    def lines(self) -> list[str]:
        """The checks as lines for a terminal, the outcome last."""
        words = {State.GOOD: "ok", State.BAD: "WRONG", State.OPEN: "open"}
        lines = [f"{words[check.state]:<6} {check.name}: {check.said}" for check in self.checks]
        outcome = "nothing was found to be wrong" if self.ok else "this report must not be relied on"
        return [*lines, f"{self.path}: {outcome}"]


def verify_report(
    path: Path, public_key: Path | None = None, folders: Mapping[str, str | Path] | None = None
) -> VerifyResult:
    r"""Check a report or an ``audit.json``: all that ``understudy audit verify=FILE`` does but for printing.

    A command calls it as follows and needs no more::

        result = verify_report(Path(verify), public_key=key, folders={"before": before, "after": after, "null": null})
        print("\n".join(result.lines()))
        return result.exit_code

    Figures are held against their digests, part by part. A page is held against the digest in its seal, and it is drawn
    again from its own figures where this is the version of understudy that drew it, so that words which do not fit the
    figures are found even where somebody computed the digests anew. Who signed is told by the public key alone.

    Parameters
    ----------
    path : Path
        ``report.html``, ``audit.json``, or the folder with either.
    public_key : Path, optional
        PEM of the Ed25519 key that should have signed; then a report without its signature is wrong.
    folders : mapping, optional
        ``before``, ``after`` and ``null``: collections as they are now; entries that are empty are left out.

    Raises
    ------
    InvalidInputError
        Where the file is missing, cut off, or neither a report nor an audit.
    ConfigError
        Where the key cannot be read, or only one of before and after is given.
    """
    path = _file(path)
    key = None if public_key is None else load_public_key(public_key)
    data = _read(path)
    given = {role: Path(folder) for role, folder in (folders or {}).items() if folder}
    page = None
    if path.suffix.lower() in (".html", ".htm") or data.lstrip()[:1] == b"<":
        page = open_page(data, str(path))
        audit = page.audit
    else:
        audit = _load(data, path)
    figures, changed = _figures(audit)
    checks = [figures]
    if page is not None:
        checks += [_page(page), *_beside(path, audit)]
    checks.append(_signature(audit, page, key, intact=not changed and all(c.state is not State.BAD for c in checks)))
    checks += _collections(audit, given)
    return VerifyResult(path, tuple(checks), changed)


def _file(path: Path) -> Path:
    if path.is_dir():
        inside = [path / name for name in (REPORT_NAME, AUDIT_NAME) if (path / name).is_file()]
        if not inside:
            raise InvalidInputError(f"{path} holds neither {REPORT_NAME} nor {AUDIT_NAME}: name the file to check")
        return inside[0]
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(f"{path} cannot be read ({reason}): name a report.html or an audit.json") from error


def _load(data: bytes, path: Path) -> dict[str, Any]:
    try:
        audit = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} is no whole JSON document ({error}): it was cut off or changed; check a copy of the file that "
            "`understudy audit` wrote"
        ) from error
    if not isinstance(audit, dict) or "figures_sha256" not in audit:
        raise InvalidInputError(f"{path} holds no digest of its figures: it is not an audit.json of understudy")
    return audit


def _figures(audit: Mapping[str, Any]) -> tuple[Check, tuple[str, ...]]:
    """Whether the figures are those of the digests, and which parts are not."""
    try:
        digest, parts = figures_digest(audit), part_digests(audit)
    except InvalidInputError as error:
        return Check("figures", State.BAD, f"cannot be digested: {error}."), ("?",)
    stored = audit.get("part_sha256")
    known = dict(stored) if isinstance(stored, Mapping) else {}
    names = sorted({*parts, *known} - SEAL_KEYS)
    changed = tuple(name for name in names if parts.get(name) != known.get(name))
    if digest == audit.get("figures_sha256") and not changed:
        return Check("figures", State.GOOD, f"as they were digested, SHA-256 {digest}."), ()
    if changed:
        said = f"changed since they were digested: {', '.join(changed)}. Ask for the original file."
        return Check("figures", State.BAD, said), changed
    said = f"their SHA-256 is {digest} and the file says {audit.get('figures_sha256')}. Ask for the original file."
    return Check("figures", State.BAD, said), ()


def _page(page: SealedPage) -> Check:
    """Whether the page is what was sealed and, where this version drew it, what its figures say."""
    if page.digest != page.seal.get("page_sha256"):
        return Check(
            "page", State.BAD, "its text was changed since it was sealed. Ask for the original, or read audit.json."
        )
    drawn_by = page.seal.get("renderer")
    if drawn_by != renderer():
        return Check(
            "page",
            State.OPEN,
            f"as it was sealed, by understudy {drawn_by}. This is {renderer()}, so whether the words are those of the "
            "figures is told by that version, or by a signature.",
        )
    try:
        same = render_page(page.audit, page.contact_sheet) == page.body
    except Exception as error:  # noqa: BLE001 - figures that somebody changed may break the drawing in any way
        return Check("page", State.BAD, f"cannot be drawn from its own figures ({error}). Ask for the original file.")
    if not same:
        return Check("page", State.BAD, "its words are not those of its own figures. Ask for the original file.")
    return Check("page", State.GOOD, "as it was sealed, and the same when drawn again from its figures.")


def _beside(path: Path, audit: Mapping[str, Any]) -> list[Check]:
    """Whether the audit.json beside a page holds the same figures; nothing where there is none."""
    other = path.parent / AUDIT_NAME
    if not other.is_file():
        return []
    try:
        same = figures_digest(_load(_read(other), other)) == audit.get("figures_sha256")
    except InvalidInputError as error:
        return [Check(AUDIT_NAME, State.BAD, f"beside the report, cannot be used: {error}.")]
    if same:
        return [Check(AUDIT_NAME, State.GOOD, "beside the report, holds the same figures.")]
    said = f"beside the report, holds other figures: check it by itself with verify={other}."
    return [Check(AUDIT_NAME, State.BAD, said)]


def _signature(
    audit: Mapping[str, Any], page: SealedPage | None, key: Ed25519PublicKey | None, *, intact: bool
) -> Check:
    """Who signed figures and page; a signature that is there must hold."""
    signature = audit.get("signature")
    if signature is None and (page is None or page.seal.get("signature") is None):
        if key is not None:
            return Check("signature", State.BAD, "there is none, and a key is given that should have signed.")
        return Check("signature", State.OPEN, "there is none: an accident would be found, a forgery would not.")
    figures = str(audit.get("figures_sha256"))
    found = signer(signature, figures_message(figures))
    if found is None:
        return Check("signature", State.BAD, "does not hold for these figures. Ask for the original file.")
    if key is not None and fingerprint(key) != fingerprint(found):
        said = f"is by another key: {fingerprint(found)} signed, and {fingerprint(key)} was given."
        return Check("signature", State.BAD, said)
    if page is not None:
        signed_page = page.seal.get("signature")
        of_page = None if signed_page is None else signer(signed_page, page_message(page.digest, figures))
        if signed_page is not None and (of_page is None or fingerprint(of_page) != fingerprint(found)):
            return Check("signature", State.BAD, "holds for the figures and not for the page. Ask for the original.")
        if signed_page is None and page.seal.get("renderer") != renderer():
            said = (
                f"key {fingerprint(found)} signed the figures and not this page: rely on audit.json, not on the page."
            )
            return Check("signature", State.OPEN if key is None else State.BAD, said)
    if key is None:
        said = f"holds, by the key {fingerprint(found)}. Whose it is, only a public key from the signer tells: give it."
        return Check("signature", State.OPEN, said)
    if not intact:
        return Check("signature", State.BAD, "is by the given key, and what it stands on was changed.")
    return Check("signature", State.GOOD, f"holds, by the given key {fingerprint(found)}.")


def _collections(audit: Mapping[str, Any], folders: Mapping[str, Path]) -> list[Check]:
    """Whether the pictures are those that were audited."""
    recorded = audit.get("collections")
    known = dict(recorded) if isinstance(recorded, Mapping) else {}
    if not folders:
        return [Check(role, State.OPEN, "give the folder to check its pictures.") for role in known]
    if "before" not in folders or "after" not in folders:
        raise ConfigError(
            "pictures are digested in pairs: give both before=DIR and after=DIR, and null=DIR if there was one"
        )
    opened = {role: open_collection(folder, role) for role, folder in folders.items()}
    files = pair_collections(opened["before"], opened["after"], opened.get("null")).files
    checks = []
    for role, record in known.items():
        if role not in folders or not isinstance(record, Mapping):
            checks.append(Check(role, State.OPEN, "give the folder to check its pictures."))
            continue
        paths = {pair.name: getattr(pair, role) for pair in files}
        found = collection_digest({name: _sha256(path) for name, path in paths.items() if path is not None})
        if found == record.get("digest"):
            checks.append(Check(role, State.GOOD, f"the {len(paths):,} pictures are those that were audited."))
        else:
            said = "pictures were added, removed or changed since, or some could not be read when they were audited."
            checks.append(Check(role, State.BAD, said))
    return checks


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
