"""An audit from folders to figures: pair, read, count, judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audit.cache import Cache
from understudy.audit.collect import Study, collect
from understudy.audit.faces import Readers
from understudy.audit.folders import Collection, collection_digest, open_collection
from understudy.audit.gates import Gate, GateResult, judge
from understudy.audit.how import HOW
from understudy.audit.labels import JoinedLabels, LabelFormat, Labels, join_labels, read_labels
from understudy.audit.sections import Inputs, Options, Section, Used, make_groupings, make_subjects
from understudy.audit.sections_appearance import appearance_section
from understudy.audit.sections_attributes import beautification_section, drift_section
from understudy.audit.sections_fidelity import fidelity_section, residual_section, utility_section
from understudy.audit.sections_identity import identity_section, merge, resemblance_section
from understudy.audit.study import PairFiles, Pairings, PairReader, PairRecord, Unreadable, pair_collections, read_all
from understudy.audit.table import AuditTable, adjusted_rows
from understudy.errors import InvalidInputError

FORMAT = 1
GROUPED_BY = ("skin_tone", "perceived_gender_expression", "age_group", "perceived_age_group")
"""Perceived attributes whose groups are compared where nothing else is asked for."""
SECTIONS: Mapping[str, Callable[[Inputs], Section]] = {
    "re-identification": identity_section,
    "residual faces": residual_section,
    "resemblance": resemblance_section,
    "drift": drift_section,
    "beautification": beautification_section,
    "fidelity": fidelity_section,
    "appearance": appearance_section,
    "utility": utility_section,
}
"""The sections of a report in their order; one function each."""
_NAMED = 10
"""Names that a message lists at most."""


@dataclass(frozen=True)
class AuditJob:
    """Everything that an audit needs; built by the configuration."""

    before: str
    after: str
    readers: Readers
    options: Options
    null: str | None = None
    labels: Path | None = None
    label_format: LabelFormat = field(default_factory=LabelFormat)
    gates: tuple[Gate, ...] = ()
    cache_folder: Path | None = None
    reader_record: Mapping[str, object] = field(default_factory=dict)
    """What reads, for the cache's keys: settings, weights, version."""
    max_pixels: int = 200_000_000
    n_workers: int = 1


@dataclass(frozen=True)
class AuditResult:
    """An audit's figures, and all that a report says of them."""

    table: AuditTable
    gates: tuple[GateResult, ...]
    plots: Mapping[str, Mapping[str, Any]]
    collections: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, Sequence[str]]

    def document(self, **more: object) -> dict[str, Any]:
        """As ``audit.json`` holds it, but for the digests."""
        metrics = {row.metric for row in self.table.rows}
        return {
            "format": FORMAT,
            "verdict": verdict(self.gates),
            "gates": [gate_record(result) for result in self.gates],
            "table": self.table.records(),
            "plots": dict(self.plots),
            "collections": dict(self.collections),
            "missing": {name: list(said) for name, said in self.missing.items()},
            "how": {metric: HOW[metric] for metric in sorted(metrics) if metric in HOW},
            **more,
        }


@dataclass(frozen=True)
class Steps:
    """Whom an audit tells how far it is."""

    pairs: Callable[[int, int], None]
    """Called with (pairs done, pairs in all)."""
    section: Callable[[str], None]
    """Called with the name of the section that begins."""

    @classmethod
    def silent(cls) -> Steps:
        """Tells nobody."""
        return cls(lambda *_: None, lambda _: None)


def run_audit(
    job: AuditJob, used: Used, collections: Mapping[str, Collection], steps: Steps | None = None
) -> AuditResult:
    """Judge an anonymiser's output.

    Parameters
    ----------
    job : AuditJob
    used : Used
        What the anonymiser worked with.
    collections : mapping
        From ``open_collections``.
    steps : Steps, optional

    Raises
    ------
    InvalidInputError
        Nothing can be paired, or nowhere is a face.
    """
    steps = steps or Steps.silent()
    before, after, null = collections["before"], collections["after"], collections.get("null")
    labels = None if job.labels is None else read_labels(job.labels, job.label_format)
    pairings = pair_collections(before, after, null)
    regions = None if after.manifest is None else after.manifest.regions
    cache = Cache(job.cache_folder, job.reader_record)
    reader = PairReader(job.readers, cache, regions, max_pixels=job.max_pixels)
    records, unreadable = _read(pairings.files, reader, job.n_workers, steps)
    second, people = job.readers.second, job.readers.people
    study = collect(
        records,
        regions=regions,
        detector=job.readers.detector.name,
        second=None if second is None else second.name,
        second_confidence=job.options.second_confidence,
        people=None if people is None else people.name,
    )
    missing: dict[str, list[str]] = {}
    joined = _join(labels, study, missing)
    inputs = Inputs(
        study=study,
        subjects=make_subjects(study, joined),
        groupings=make_groupings(study, labels, joined, job.options, GROUPED_BY),
        options=job.options,
        attacks=job.readers.attacks,
        used=used,
        labels=labels,
        joined=joined,
        second=second,
        extractor=None if job.readers.extractor is None else job.readers.extractor.name,
        perceptual=None if job.readers.perceptual is None else job.readers.perceptual.name,
    )
    whole = Section()
    for name, make in SECTIONS.items():
        steps.section(name)
        section = make(inputs)
        if section.missing:
            missing.setdefault(name, []).extend(section.missing)
        section.missing = []
        merge(whole, section)
    steps.section("gates")
    table = AuditTable(adjusted_rows(whole.findings))
    missing = {**_unmatched(collections, pairings, unreadable, study), **missing}
    plots = {**whole.plots, "groups": _group_plots(table)}
    return AuditResult(
        table, tuple(judge(table, job.gates)), plots, _collections(collections, study, pairings), missing
    )


def open_collections(before: str, after: str, null: str | None) -> dict[str, Collection]:
    """The folders by their role.

    Raises
    ------
    InvalidInputError
        A folder is missing or empty, or one is given twice.
    """
    found = {"before": open_collection(before, "before"), "after": open_collection(after, "after")}
    if null is not None:
        found["null"] = open_collection(null, "null")
    if found["before"].root.resolve() == found["after"].root.resolve():
        raise InvalidInputError(f"before and after are one folder, {str(before)!r}: nothing can have changed in it")
    if null is not None and found["null"].root.resolve() == found["after"].root.resolve():
        raise InvalidInputError(
            f"null and after are one folder, {str(null)!r}: every drift would be 0; give one with nothing replaced"
        )
    return found


def _read(
    files: Sequence[PairFiles], reader: PairReader, n_workers: int, steps: Steps
) -> tuple[list[PairRecord], list[Unreadable]]:
    records: list[PairRecord] = []
    unreadable: list[Unreadable] = []
    for record in read_all(files, reader, n_workers=n_workers, progress=steps.pairs):
        if isinstance(record, Unreadable):
            unreadable.append(record)
        else:
            records.append(record)
    if not records:
        raise InvalidInputError(
            f"none of the {len(files)} pairs of pictures can be read; {unreadable[0].name}: {unreadable[0].reason}"
        )
    return records, unreadable


def _join(labels: Labels | None, study: Study, missing: dict[str, list[str]]) -> JoinedLabels | None:
    """Labels of the faces; where they belong to nobody, that is said and the audit goes on without them."""
    if labels is None:
        return None
    said = [f"column {name!r} {reason}" for name, reason in labels.left_out.items()]
    try:
        joined = join_labels(labels, study.pictures, study.face_picture, study.xyxy)
    except InvalidInputError as error:
        missing["labels"] = [str(error), *said]
        return None
    if joined.n_unlabelled:
        said.insert(0, f"{joined.n_unlabelled} of {study.n} faces have no label")
    if joined.n_unused:
        said.insert(0, f"{joined.n_unused} rows of labels belong to no face that was found")
    if said:
        missing["labels"] = said
    return joined


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _unmatched(
    collections: Mapping[str, Collection], pairings: Pairings, unreadable: Sequence[Unreadable], study: Study
) -> dict[str, list[str]]:
    """What has no partner or could not be read, in sentences."""
    pictures: list[str] = []
    for said, names in (
        ("of before have no partner in after", pairings.after.only_before),
        ("of after have no partner in before", pairings.after.only_after),
        ("of before have no partner in null", () if pairings.null is None else pairings.null.only_before),
    ):
        if names:
            pictures.append(f"{len(names)} pictures {said}: {_some(names)}")
    if unreadable:
        pictures.append(
            f"{len(unreadable)} pairs could not be read: {_some([f'{u.name} ({u.reason})' for u in unreadable])}"
        )
    for collection in collections.values():
        if collection.skipped:
            reasons = _some([f"{name} {reason}" for name, reason in collection.skipped.items()])
            pictures.append(f"{len(collection.skipped)} files of {collection.role} are no pictures: {reasons}")
    faces: list[str] = []
    lost = int((~study.found_after).sum())
    if lost:
        faces.append(f"{lost} of {study.n} faces of before have no face in their place after")
    if study.n_new:
        faces.append(f"{study.n_new} faces of after stand where none was before")
    if study.found_null is not None and not study.found_null.all():
        faces.append(f"{int((~study.found_null).sum())} of {study.n} faces of before have none in the null edit")
    if len(study.second_change):
        faces.append(f"{len(study.second_change)} faces of before were found by the second detector only")
    return {name: said for name, said in (("pictures", pictures), ("faces", faces)) if said}


def _collections(collections: Mapping[str, Collection], study: Study, pairings: Pairings) -> dict[str, dict[str, Any]]:
    faces = {"before": study.n, "after": int(study.found_after.sum()) + study.n_new}
    if study.found_null is not None:
        faces["null"] = int(study.found_null.sum())
    return {
        role: {
            "path": str(collection.root),
            "n_pictures": len(collection.pictures),
            "n_pairs": len(pairings.files),
            "n_faces": faces.get(role),
            "digest": collection_digest(study.digests[role]),
            "manifest": {} if collection.manifest is None else dict(collection.manifest.digests),
        }
        for role, collection in collections.items()
    }


def _group_plots(table: AuditTable) -> dict[str, list[dict[str, Any]]]:
    """Figures by group, one plot for each metric and attribute; "rank1_rate, dlib": its groups."""
    wanted = ("rank1_rate", "residual_share", "face_lost_share", "beautification_drift", "keypoint_nme", "mean_drift")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.rows:
        main = row.metric != "beautification_drift" or row.attribute == "index"
        if row.group != "overall" and row.metric in wanted and main:
            name = f"{row.metric}, {row.attribute}" if row.attribute else row.metric
            values = {key: getattr(row, key) for key in ("group", "n", "value", "ci_low", "ci_high")}
            plain = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in values.items()}
            found.setdefault(name, []).append({**plain, "unit": row.unit, "status": str(row.status)})
    return found


def verdict(gates: Sequence[GateResult]) -> dict[str, str]:
    """The verdict in a word and a sentence."""
    if not gates:
        return {"verdict": "undecided", "reason": "no gate was set"}
    broken = [g for g in gates if not g.holds]
    if not broken:
        return {"verdict": "pass", "reason": f"all {len(gates)} gates hold"}
    failed = sorted({g.gate.name for g in broken if g.verdict == "failed"})
    open_ = sorted({g.gate.name for g in broken if g.verdict == "undecided"} - set(failed))
    parts = [f"{what} {', '.join(names)}" for what, names in (("failed:", failed), ("undecided:", open_)) if names]
    few = [(g.row.n, g.gate.minimum_n) for g in broken if g.row is not None and g.row.n < g.gate.minimum_n]
    if few:
        least, most = min(n for n, _ in few), max(n for n, _ in few)
        there = f"{least}" if least == most else f"{least} to {most}"
        parts.append(f"too few faces or pictures: n = {there}, up to {max(m for _, m in few)} are wanted")
    return {"verdict": "fail" if failed else "undecided", "reason": "; ".join(parts)}


def gate_record(result: GateResult) -> dict[str, Any]:
    """One gate as ``audit.json`` holds it."""
    return {
        **asdict(result.gate),
        "verdict": str(result.verdict),
        "reason": result.reason,
        "holds": result.holds,
        "row": None if result.row is None else AuditTable([result.row]).records()[0],
    }


def to_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of ``audit.json``."""
    return (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
