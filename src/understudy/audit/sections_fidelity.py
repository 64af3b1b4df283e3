"""Residual faces, misses, fidelity and utility."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from understudy.audit.attackers import Attack
from understudy.audit.fidelity import keypoint_nme
from understudy.audit.grouping import Grouping, by_group
from understudy.audit.resampling import Plan, bootstrap_mean, bootstrap_share, subject_index
from understudy.audit.residual import change_limit, residual_faces
from understudy.audit.sections import Inputs, Section, guarded
from understudy.audit.sections_identity import attack_status, build_attacker
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN, Status, group_name
from understudy.audit.utility import average_precision
from understudy.audit.verification import verify

THRESHOLD_FARS = (1e-3, 1e-2)
"""A face is recognised above the threshold of the first of these that there are enough impostors for."""
CONTEXT: Mapping[str, tuple[str, str]] = {
    "changed_share": ("context_changed_share", "share"),
    "mean_abs": ("context_mean_abs", "grey levels"),
    "max_abs": ("context_max_abs", "grey levels"),
    "psnr_db": ("context_psnr", "dB"),
    "ssim": ("context_ssim", ""),
}
NO_PEOPLE = "run `understudy models pull yolox_nano`; the next audit chooses people=default"
CHANGES: Mapping[str, tuple[str, str]] = {
    "yaw": ("head_pose_change", ""),
    "expression": ("expression_change", ""),
    "mouth_opening": ("mouth_opening_change", "estimator=[skin_tone,head_pose,readouts,landmarks]"),
    "eye_opening": ("eye_opening_change", "estimator=[skin_tone,head_pose,readouts,landmarks]"),
}
"""By the attribute that is read: the row of how much it changed on a face, and what reads it where nothing does."""


def residual_section(inputs: Inputs) -> Section:
    """Faces that are still the original, and people whom the anonymiser did not see."""

    def make(section: Section) -> None:
        study = inputs.study
        limit = change_limit(np.zeros(0) if study.null_change is None else study.null_change)
        attack, similarity, threshold = _recognition(inputs)
        if attack is None:
            section.missing.append("too few impostors for a threshold; judged by pixels alone")
        change = np.concatenate([study.change, study.second_change])
        extra = np.full(len(study.second_change), NAN)
        subjects = np.concatenate([inputs.subjects, 2 * study.n + 1 + np.arange(len(extra))])
        found = residual_faces(
            change,
            np.concatenate([similarity, extra]),
            subjects,
            inputs.plan,
            change_at_most=limit,
            similarity_over=threshold,
        )
        judged = int((np.isfinite(change) | np.isfinite(np.concatenate([similarity, extra]))).sum())
        status = inputs.second_status
        n_missing = len(change) - judged
        section.row("residual_share", found.share, judged, unit="share", missing=n_missing, status=status)
        for name, hits in (("unchanged", found.unchanged), ("recognised", found.recognised)):
            share = _share(hits.astype(float), subjects, inputs.plan)
            section.row("residual_share", share, len(change), attribute=name, unit="share", status=status)
        if inputs.second is None:
            section.missing.append(
                "residual faces: no second detector; people whom the first one misses are not counted"
            )
        elif status is Status.SELECTED:
            section.missing.append(f"residual faces: the anonymiser worked with {inputs.second.name} too")
        if len(extra):
            missed = _share(found.unchanged[study.n :].astype(float), subjects[study.n :], inputs.plan)
            section.row("residual_share", missed, len(extra), attribute="second detector only", unit="share")
        _grouped(section, inputs, "residual_share", found.residual[: study.n].astype(float))
        _misses(section, inputs, limit)

    return guarded("residual faces", make)


def _recognition(inputs: Inputs) -> tuple[Attack | None, NDArray[np.float64], float]:
    """The first independent attacker (else the first) with a threshold, and each face's similarity to its original.

    Only faces count in whose place the second detector finds one after; without a second detector, all that were found.
    """
    study = inputs.study
    ordered = sorted(inputs.attacks, key=lambda a: attack_status(inputs, a) is Status.SELECTED)
    has_second = inputs.second is not None
    for attack in ordered:
        attacker, _ = build_attacker(inputs, attack)
        plan = replace(inputs.plan, n_boot=1)
        if not attacker.before.found.any():
            continue
        limits = verify(attacker.after, attacker.before, attacker.control, plan, far_targets=THRESHOLD_FARS)
        known = [v.threshold for v in limits if np.isfinite(v.threshold)]
        if not known:
            continue
        found = study.embeddings[attack.name]
        similarity = _row_similarity(found.before, found.after, attack.metric)
        if has_second:
            similarity = np.where(study.second_after, similarity, NAN)
        return attack, similarity, known[0]
    return None, np.full(study.n, NAN), NAN


def _row_similarity(a: NDArray[np.float32], b: NDArray[np.float32], metric: str) -> NDArray[np.float64]:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if metric == "euclidean":
        return np.asarray(-np.linalg.norm(x - y, axis=1), np.float64)
    length = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(axis=1) / np.where(length > 0, length, 1), np.float64)


def _misses(section: Section, inputs: Inputs, limit: float) -> None:
    """Faces that the anonymiser did not find: not in its manifest, or unchanged where there is none."""
    study = inputs.study
    missed = study.change <= limit if study.covered is None else ~study.covered
    values = np.where(np.isfinite(study.change), missed, NAN) if study.covered is None else missed.astype(float)
    section.row(
        "anonymiser_miss_share",
        _share(values, inputs.subjects, inputs.plan),
        int(np.isfinite(values).sum()),
        attribute="manifest" if study.covered is not None else "pixels",
        unit="share",
    )
    _grouped(
        section,
        inputs,
        "anonymiser_miss_share",
        values,
        attribute="manifest" if study.covered is not None else "pixels",
    )


def _share(values: NDArray[np.float64], subjects: NDArray[np.int64], plan: Plan) -> Interval:
    if not len(values) or not np.isfinite(values).any():
        return Interval(NAN, NAN, NAN)
    index, n_subjects = subject_index(subjects)
    return bootstrap_share(values, index, plan.draws(n_subjects))


def _mean(values: NDArray[np.float64], subjects: NDArray[np.int64], plan: Plan) -> Interval:
    if not len(values) or not np.isfinite(values).any():
        return Interval(NAN, NAN, NAN)
    index, n_subjects = subject_index(subjects)
    return bootstrap_mean(values, index, plan.draws(n_subjects))


def _grouped(
    section: Section,
    inputs: Inputs,
    metric: str,
    values: NDArray[np.float64],
    *,
    attribute: str = "",
    unit: str = "share",
    of: Callable[[NDArray[np.float64], NDArray[np.int64], Plan], Interval] = _share,
) -> None:
    """A figure of each group."""
    for grouping in inputs.groupings:
        for name, n, interval in _by_group(inputs, grouping, values, of):
            section.row(
                metric,
                Interval(NAN, NAN, NAN) if interval is None else interval,
                n,
                attribute=attribute,
                group=group_name(grouping.attribute, name),
                unit=unit,
                status=Status.TOO_FEW if interval is None else Status.OK,
            )


def _by_group(
    inputs: Inputs,
    grouping: Grouping,
    values: NDArray[np.float64],
    of: Callable[[NDArray[np.float64], NDArray[np.int64], Plan], Interval],
) -> Sequence[tuple[str, int, Interval | None]]:
    def metric(rows: NDArray[np.int64]) -> Interval:
        return of(values[rows], inputs.subjects[rows], inputs.plan)

    found = by_group(metric, grouping, inputs.subjects, inputs.options.minimum_n)
    return [(value.name, value.n, value.value) for value in found]


def fidelity_section(inputs: Inputs) -> Section:
    """What stayed: context, seams, keypoints, pose, expression, openings of mouth and eyes."""

    def make(section: Section) -> None:
        study = inputs.study
        pictures = np.arange(len(study.pictures))
        for name, (metric, unit) in CONTEXT.items():
            values = study.numbers[name]
            null = NAN if study.null_numbers is None else _nanmean(study.null_numbers[name])
            n = int(np.isfinite(values).sum())
            section.row(metric, _mean(values, pictures, inputs.plan), n, unit=unit, null=null, missing=len(values) - n)
        same = np.isfinite(study.numbers["changed_share"])
        exact = np.where(same, study.numbers["changed_share"] == 0, NAN)
        section.row(
            "context_identical_share",
            _share(exact, pictures, inputs.plan),
            int(same.sum()),
            unit="share",
            null=_identical(study.null_numbers),
            missing=int((~same).sum()),
        )
        seam = study.numbers["seam"] - study.numbers["seam_before"]
        n = int(np.isfinite(seam).sum())
        section.row(
            "seam_visibility", _mean(seam, pictures, inputs.plan), n, unit="log ratio", null=0.0, missing=len(seam) - n
        )
        _keypoints(section, inputs)
        for attribute in CHANGES:
            _change(section, inputs, attribute)
        if study.n_resized:
            section.missing.append(
                f"fidelity: {study.n_resized} pictures differ in size from their originals; their context cannot be "
                "compared byte for byte"
            )

    return guarded("fidelity", make)


def _identical(numbers: Mapping[str, NDArray[np.float64]] | None) -> float:
    return (
        NAN
        if numbers is None
        else _nanmean(np.where(np.isfinite(numbers["changed_share"]), numbers["changed_share"] == 0, NAN))
    )


def _nanmean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _keypoints(section: Section, inputs: Inputs) -> None:
    study = inputs.study
    error = keypoint_nme(study.keypoints, study.keypoints_after)
    null = NAN if study.keypoints_null is None else _nanmean(keypoint_nme(study.keypoints, study.keypoints_null))
    n = int(np.isfinite(error).sum())
    section.row(
        "keypoint_nme", _mean(error, inputs.subjects, inputs.plan), n, unit="face size", null=null, missing=study.n - n
    )
    _grouped(section, inputs, "keypoint_nme", error, unit="face size", of=_mean)


def _change(section: Section, inputs: Inputs, name: str) -> None:
    """Mean change of a reading on a face, whichever way; of a category: the share of faces that read otherwise."""
    metric, way_out = CHANGES[name]
    read = next((a for a in inputs.study.attributes if a.info.name == name), None)
    if read is None:
        section.row(metric, NAN, 0, missing=inputs.study.n)
        way = f": {way_out} does" if way_out else ""
        section.missing.append(f"{metric}: not measured, since no estimator reads {name}{way}")
        return
    change = _changes(read.before, read.after, read.info.kind)
    null = NAN if read.null is None else _nanmean(_changes(read.before, read.null, read.info.kind))
    n, of = int(np.isfinite(change).sum()), _share if read.info.kind == "categorical" else _mean
    section.row(
        metric,
        of(change, inputs.subjects, inputs.plan),
        n,
        attribute=read.info.estimator,
        unit="share" if read.info.kind == "categorical" else read.info.unit,
        null=null,
        missing=inputs.study.n - n,
    )


def _changes(before: NDArray[np.generic], after: NDArray[np.generic], kind: str) -> NDArray[np.float64]:
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if kind == "categorical":
        return np.where((a >= 0) & (b >= 0), (a != b).astype(np.float64), NAN)
    return np.abs(b - a)


def utility_section(inputs: Inputs) -> Section:
    """Whether detectors of faces and of people still find what they found."""

    def make(section: Section) -> None:
        study = inputs.study
        for name, (before, after) in study.boxes.items():
            n = sum(len(b.confidence) for b in before)
            section.row("average_precision", average_precision(before, after, inputs.plan), n, attribute=name)
        if len(study.boxes) < 2 + (inputs.second is not None):
            section.row("average_precision", NAN, 0, attribute="people")
            section.missing.append("average_precision of people: not measured: " + NO_PEOPLE)
        lost = (~study.found_after).astype(float)
        null = NAN if study.found_null is None else float((~study.found_null).mean())
        section.row("face_lost_share", _share(lost, inputs.subjects, inputs.plan), study.n, unit="share", null=null)
        _grouped(section, inputs, "face_lost_share", lost)

    return guarded("utility", make)
