"""What the sections of an audit share: the people, the groups, the settings, and the form of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audit.attackers import Attack
from understudy.audit.beautification import WEIGHTS
from understudy.audit.collect import Study
from understudy.audit.grouping import MINIMUM_N, Grouping, group_by, intersect
from understudy.audit.labels import JoinedLabels, Labels
from understudy.audit.resampling import Plan
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN, Finding, Row, Status
from understudy.audit.verification import FAR_TARGETS
from understudy.detect.base import Detector
from understudy.errors import InvalidInputError

PERCEIVED = "perceived "
"""Before the name of a group that an estimator read, where people gave labels of their own too."""


@dataclass(frozen=True)
class Options:
    """How figures are made; every value is in the report."""

    plan: Plan
    minimum_n: int = MINIMUM_N
    """People under which a group's figure is withheld."""
    far_targets: tuple[float, ...] = FAR_TARGETS
    beautification_weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    groups: tuple[str, ...] | None = None
    """Attributes whose groups are compared; None: every label column of categories, and the main perceived ones."""
    intersections: tuple[tuple[str, ...], ...] = ()
    second_confidence: float = 0.7
    """Less confident finds of the second detector are no faces."""


@dataclass(frozen=True)
class Inputs:
    """What every section gets."""

    study: Study
    subjects: NDArray[np.int64]  # (N,)
    groupings: tuple[Grouping, ...]  # over the faces of before
    options: Options
    attacks: tuple[Attack, ...]
    used: Used
    labels: Labels | None
    joined: JoinedLabels | None
    second: Detector | None = None
    """The second detector."""
    extractor: str | None = None
    """Name of the network whose features FID and KID compare."""
    perceptual: str | None = None
    """Name of the network of LPIPS."""

    @property
    def second_status(self) -> Status:
        """Of what the second detector says: selected where the anonymiser worked with the same one."""
        shared = self.second is not None and bool(self.second.families & self.used.detectors)
        return Status.SELECTED if shared else Status.OK

    @property
    def plan(self) -> Plan:
        """How figures are resampled."""
        return self.options.plan


@dataclass(frozen=True)
class Used:
    """What the anonymiser itself worked with, as its manifest says; nothing where there is none."""

    embedders: frozenset[str] = frozenset()
    """Of its guard."""
    detectors: frozenset[str] = frozenset()
    """Families of its detectors."""
    policy: bool = False
    """It read attributes of people and carried them over."""


@dataclass
class Section:
    """Rows, plots, and what could not be measured, with the reason."""

    findings: list[Finding] = field(default_factory=list)
    plots: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def plot(self, kind: str, name: str, data: Mapping[str, Any]) -> None:
        """Add a plot's arrays."""
        self.plots.setdefault(kind, {})[name] = dict(data)

    def row(
        self,
        metric: str,
        value: Interval | float,
        n: int,
        *,
        attribute: str = "",
        group: str = "overall",
        unit: str = "",
        null: float = NAN,
        p: float = NAN,
        family: str = "",
        missing: int = 0,
        status: Status = Status.OK,
    ) -> None:
        """Add a row; one without a value is not measured."""
        interval = value if isinstance(value, Interval) else Interval(float(value), NAN, NAN)
        known = bool(np.isfinite(interval.value))
        row = Row(
            metric,
            n,
            interval.value if known else NAN,
            attribute=attribute,
            group=group,
            n_missing=missing,
            unit=unit,
            ci_low=interval.low if known else NAN,
            ci_high=interval.high if known else NAN,
            null_value=null if np.isfinite(null) else NAN,
            status=status if known or status is Status.TOO_FEW else Status.NOT_MEASURED,
        )
        self.findings.append(Finding(row, p, family))


def guarded(name: str, make: Callable[[Section], None]) -> Section:
    """A section; where the data do not carry it, what it has so far and the reason."""
    section = Section()
    try:
        make(section)
    except InvalidInputError as error:
        section.missing.append(f"{name}: {error}")
    return section


def make_subjects(study: Study, joined: JoinedLabels | None) -> NDArray[np.int64]:
    """(N,) person of each face: as labels say, else each face its own."""
    own = np.arange(study.n, dtype=np.int64)
    if joined is None or joined.subjects is None:
        return own
    names = sorted({name for name in joined.subjects if name})
    place = {name: study.n + i for i, name in enumerate(names)}
    return np.array([place.get(name, int(i)) for i, name in zip(own, joined.subjects, strict=True)], np.int64)


def make_groupings(
    study: Study, labels: Labels | None, joined: JoinedLabels | None, options: Options, defaults: Sequence[str]
) -> tuple[Grouping, ...]:
    """Who belongs to which group: by the labels that people gave, and by what estimators read before.

    Parameters
    ----------
    study : Study
    labels, joined : optional
    options : Options
    defaults : sequence of str
        Perceived attributes that make groups where the options name none.
    """
    found: dict[str, Grouping] = {}
    if labels is not None and joined is not None:
        for column in labels.columns:
            if column.kind == "categorical":
                texts = [column.values[row] if row >= 0 else "" for row in joined.row]
                found[column.name] = group_by(column.name, texts, column.categories)
    for attribute in study.attributes:
        if attribute.info.kind == "categorical":
            name = attribute.info.name if attribute.info.name not in found else PERCEIVED + attribute.info.name
            names = attribute.info.categories
            texts = [names[code] if code >= 0 else "" for code in attribute.before.astype(np.int64)]
            found[name] = group_by(name, texts, names)
    labelled = {column.name for column in labels.columns} if labels is not None else set()
    wanted = options.groups if options.groups is not None else [n for n in found if n in labelled or n in defaults]
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        raise InvalidInputError(f"groups names {unknown[0]!r}, which nothing reads: choose from {', '.join(found)}")
    crossed = [tuple(names) for names in options.intersections if len(names) > 1 and set(names) <= set(found)]
    return (*(found[n] for n in wanted), *(intersect(*(found[n] for n in names)) for names in crossed))
