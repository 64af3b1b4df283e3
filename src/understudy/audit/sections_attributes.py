"""Drift of attributes and labels, and beautification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from understudy.audit.beautification import PARTS
from understudy.audit.beautification_table import beautification_findings
from understudy.audit.calibration import calibrated_drift
from understudy.audit.collect import Attribute
from understudy.audit.drift import Readings, categorical_drift
from understudy.audit.drift_table import categorical_findings_by_group, numeric_findings_by_group
from understudy.audit.grouping import Grouping
from understudy.audit.labels import LabelColumn
from understudy.audit.sections import Inputs, Section, guarded
from understudy.audit.sections_identity import merge
from understudy.audit.table import NAN, Status

N_BINS = 24
LABEL = "label"
"""After an attribute's name where what is before is what people said, and what is after is an estimator's reading."""


def drift_section(inputs: Inputs) -> Section:
    """Every perceived attribute, and every label that an estimator reads too."""
    whole = Section()
    for attribute in inputs.study.attributes:

        def make(section: Section, attribute: Attribute = attribute) -> None:
            _attribute(section, inputs, attribute)

        merge(whole, guarded(f"drift of {attribute.info.name}", make))
    for attribute, column in _labelled(inputs):

        def agree(section: Section, attribute: Attribute = attribute, column: LabelColumn = column) -> None:
            _agreement(section, inputs, attribute, column)

        merge(whole, guarded(f"labels of {column.name}", agree))
    return whole


def attribute_status(inputs: Inputs, attribute: Attribute) -> Status:
    """Of an attribute's rows: selected where the anonymiser's policy reads with the same network."""
    return Status.SELECTED if attribute.info.selected and inputs.used.policy else Status.OK


def _attribute(section: Section, inputs: Inputs, attribute: Attribute) -> None:
    info, status = attribute.info, attribute_status(inputs, attribute)
    readings = Readings(info.name, attribute.before, attribute.after, inputs.subjects, attribute.null)
    stages = [s for s in (attribute.before, attribute.after, attribute.null) if s is not None]
    valid = np.logical_and.reduce([_valid(s, info.kind) for s in stages])
    metric = "total_variation" if info.kind == "categorical" else "mean_drift"
    if len(np.unique(inputs.subjects[valid])) < 2:
        n_missing = int((~valid).sum())
        section.row(metric, NAN, int(valid.sum()), attribute=info.name, unit=info.unit, missing=n_missing)
        section.missing.append(
            f"drift of {info.name}: read in every folder on {int(valid.sum())} of {len(valid)} faces: too few"
        )
        _plot_stages(section, attribute)
        return
    groupings = [_fitting(g, inputs.subjects, valid, inputs.options.minimum_n) for g in inputs.groupings]
    if info.kind == "numeric":
        section.findings += numeric_findings_by_group(
            readings, groupings, inputs.plan, unit=info.unit, minimum_n=inputs.options.minimum_n, status=status
        )
    else:
        section.findings += categorical_findings_by_group(
            readings, info.categories, groupings, inputs.plan, minimum_n=inputs.options.minimum_n, status=status
        )
        everybody = categorical_drift(readings, info.categories, inputs.plan)
        section.plot(
            "transitions", info.name, {"categories": list(info.categories), "counts": everybody.transitions.tolist()}
        )
    _plot_stages(section, attribute)


def _valid(values: NDArray[np.generic], kind: str) -> NDArray[np.bool_]:
    x = np.asarray(values, np.float64)
    return np.asarray(x >= 0 if kind == "categorical" else np.isfinite(x), np.bool_)


def _fitting(grouping: Grouping, subjects: NDArray[np.int64], valid: NDArray[np.bool_], minimum_n: int) -> Grouping:
    """The grouping without the rows of groups that are large enough, but of which fewer than two people were read.

    They are named, and have no figure; groups that are too small keep their count.
    """
    index = grouping.index.copy()
    for i in range(len(grouping.names)):
        members = index == i
        large = len(np.unique(subjects[members])) >= minimum_n
        if large and len(np.unique(subjects[members & valid])) < 2:
            index[members] = -1
    return Grouping(grouping.attribute, grouping.names, index)


def _plot_stages(section: Section, attribute: Attribute) -> None:
    info = attribute.info
    stages: Mapping[str, NDArray[np.generic] | None] = {
        "before": attribute.before,
        "after": attribute.after,
        "null": attribute.null,
    }
    if info.kind == "categorical":
        k = len(info.categories)
        counts = {name: None if s is None else _counts(s.astype(np.int64), k) for name, s in stages.items()}
        section.plot("distributions", info.name, {"kind": "categorical", "categories": list(info.categories), **counts})
        return
    known = np.concatenate([np.asarray(s, np.float64) for s in stages.values() if s is not None])
    known = known[np.isfinite(known)]
    if not len(known):
        return
    low, high = (float(v) for v in np.quantile(known, [0.002, 0.998]))
    edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
    counts = {name: None if s is None else _histogram(np.asarray(s, np.float64), edges) for name, s in stages.items()}
    section.plot("distributions", info.name, {"kind": "numeric", "unit": info.unit, "edges": edges.tolist(), **counts})


def _counts(codes: NDArray[np.int64], k: int) -> list[int]:
    return [int(v) for v in np.bincount(codes[codes >= 0], minlength=k)]


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> list[int]:
    """Counts with what lies outside in the first and the last bin."""
    known = values[np.isfinite(values)]
    return [int(v) for v in np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0]]


def _labelled(inputs: Inputs) -> list[tuple[Attribute, LabelColumn]]:
    """Attributes that an estimator reads and people labelled too, in the same words or both as numbers."""
    if inputs.labels is None or inputs.joined is None:
        return []
    columns = {column.name: column for column in inputs.labels.columns}
    found = []
    for attribute in inputs.study.attributes:
        for name in (attribute.info.name, attribute.info.name.removeprefix("perceived_")):
            column = columns.get(name)
            if column is not None and column.kind == attribute.info.kind:
                same_words = set(column.categories) <= set(attribute.info.categories)
                if column.kind == "numeric" or same_words:
                    found.append((attribute, column))
                    break
    return found


def _agreement(section: Section, inputs: Inputs, attribute: Attribute, column: LabelColumn) -> None:
    """Drift from what people said to what is read after, beside what is read of the originals."""
    if inputs.joined is None:
        return
    info, rows = attribute.info, inputs.joined.row
    if info.kind == "numeric":
        numbers = np.asarray(column.values, np.float64)
        said = np.where(rows >= 0, numbers[np.maximum(rows, 0)], np.nan)
    else:
        place = {name: i for i, name in enumerate(info.categories)}
        said = np.array([place.get(str(column.values[row]), -1) if row >= 0 else -1 for row in rows], np.int64)
    name = f"{info.name} ({LABEL})"
    readings = Readings(name, said, attribute.after, inputs.subjects, attribute.before)
    if len(np.unique(inputs.subjects[_valid(said, info.kind)])) < 2:
        section.missing.append(f"labels of {column.name}: fewer than two people have one")
        return
    status = attribute_status(inputs, attribute)
    if info.kind == "numeric":
        section.findings += numeric_findings_by_group(readings, (), inputs.plan, unit=info.unit, status=status)
        _calibrated(section, inputs, attribute, said)
    else:
        section.findings += categorical_findings_by_group(readings, info.categories, (), inputs.plan, status=status)


def _calibrated(section: Section, inputs: Inputs, attribute: Attribute, said: NDArray[np.float64]) -> None:
    """Drift in the labels' units, with the slope that it was divided by."""
    info, status = attribute.info, attribute_status(inputs, attribute)
    reference = attribute.before if attribute.null is None else attribute.null
    before, after, still = (np.asarray(s, np.float64) for s in (attribute.before, attribute.after, reference))
    found = calibrated_drift(said, before, after, still, inputs.subjects, inputs.plan)
    name, n, missing = info.name, found.n, inputs.study.n - found.n
    section.row("calibration_slope", found.slope, n, attribute=name, null=1.0, missing=missing, status=status)
    section.row("calibrated_drift", found.drift, n, attribute=name, unit=info.unit, missing=missing, status=status)
    if not np.isfinite(found.drift.value):
        section.missing.append(
            f"calibrated_drift of {info.name}: the estimator's readings do not follow the labels "
            f"(slope {found.slope.value:.2f}, {found.slope.low:.2f} to {found.slope.high:.2f})"
        )


def beautification_section(inputs: Inputs) -> Section:
    """Whether faces were made prettier, overall and by group."""

    def make(section: Section) -> None:
        before, after, null = inputs.study.parts
        names = list(PARTS)

        def faces(values: NDArray[np.float64]) -> list[dict[str, float]]:
            return [dict(zip(names, row, strict=True)) for row in values.tolist()]

        section.findings += beautification_findings(
            faces(before),
            faces(after),
            inputs.subjects,
            inputs.groupings,
            inputs.plan,
            null=None if null is None else faces(null),
            weights=inputs.options.beautification_weights,
            minimum_n=inputs.options.minimum_n,
        )

    return guarded("beautification", make)
