"""How collections look to a network that sees pictures as a whole: FID, KID and LPIPS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.audit.frechet import SUBSET_SIZE, frechet_distance, kernel_distance
from understudy.audit.resampling import Plan, bootstrap_mean, half_sample_interval, subject_index
from understudy.audit.sections import Inputs, Section, guarded
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN

N_HALVES = 20
"""Halves of the people for FID's interval: each takes seconds."""
NEEDS: dict[str, tuple[str, ...]] = {
    "fid": ("inception_v3_torchvision",),
    "kid": ("inception_v3_torchvision",),
    "lpips": ("alexnet_torchvision", "lpips_alex"),
}
"""Weights without which a row is not measured."""


def appearance_section(inputs: Inputs) -> Section:
    """FID and KID of faces before and after in their places, and LPIPS outside the masks."""

    def make(section: Section) -> None:
        if inputs.extractor is None:
            _absent(section, inputs, "fid", "extractor=inception_v3_torchvision")
            _absent(section, inputs, "kid", "extractor=inception_v3_torchvision")
        else:
            _distances(section, inputs, inputs.extractor)
        if inputs.perceptual is None:
            _absent(section, inputs, "lpips", "perceptual=lpips_alex")
        else:
            _perceptual(section, inputs, inputs.perceptual)

    return guarded("appearance", make)


def _absent(section: Section, inputs: Inputs, metric: str, choice: str) -> None:
    n_missing = len(inputs.study.pictures) if metric == "lpips" else inputs.study.n
    section.row(metric, NAN, 0, missing=n_missing)
    pulls = " and ".join(f"`understudy models pull {name}`" for name in NEEDS[metric])
    section.missing.append(
        f"{metric}: not measured: run {pulls} (needs the extra [torch]); the next audit chooses {choice}"
    )


def _distances(section: Section, inputs: Inputs, name: str) -> None:
    before, after, null = inputs.study.features
    stages = [s for s in (before, after, null) if s is not None]
    both = np.logical_and.reduce([np.isfinite(s).all(axis=1) & (s.shape[1] > 0) for s in stages])
    n, plan = int(both.sum()), inputs.plan
    x, y, z = before[both], after[both], None if null is None else null[both]
    index, n_subjects = subject_index(inputs.subjects[both])
    enough = n_subjects > 2 * inputs.options.minimum_n
    fid = Interval(frechet_distance(x, y), NAN, NAN)
    if enough:
        fid = half_sample_interval(
            lambda rows: frechet_distance(x[rows], y[rows]), fid.value, index, n_subjects, plan, N_HALVES
        )
        fid = Interval(fid.value, max(fid.low, 0.0), fid.high)
    shown = {"attribute": name, "missing": inputs.study.n - n}
    section.row("fid", fid, n, null=NAN if z is None else frechet_distance(x, z), **shown)  # type: ignore[arg-type]
    size = min(SUBSET_SIZE, n // 2)
    kid = kernel_distance(x, y, subset_size=size, seed=plan.seed)
    still = NAN if z is None else kernel_distance(x, z, subset_size=size, seed=plan.seed).mean
    section.row("kid", _spread(x, y, kid.mean, index, n_subjects, plan, enough), n, null=still, **shown)  # type: ignore[arg-type]
    section.row("kid_sd", kid.sd, kid.subset_size, **shown)  # type: ignore[arg-type]


def _spread(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    value: float,
    index: NDArray[np.int64],
    n_subjects: int,
    plan: Plan,
    enough: bool,
) -> Interval:
    """KID with an interval from halves of the people; one without where there are too few."""
    if not enough:
        return Interval(value, NAN, NAN)

    def of(rows: NDArray[np.bool_]) -> float:
        return kernel_distance(x[rows], y[rows], n_subsets=1, subset_size=SUBSET_SIZE, seed=plan.seed).mean

    return half_sample_interval(of, value, index, n_subjects, plan, N_HALVES)


def _perceptual(section: Section, inputs: Inputs, name: str) -> None:
    values, nulls = inputs.study.numbers["lpips"], inputs.study.null_numbers
    known = np.isfinite(values)
    if not known.any():
        section.row("lpips", NAN, 0, attribute=name, missing=len(values))
        return
    still = NAN if nulls is None or not np.isfinite(nulls["lpips"]).any() else float(np.nanmean(nulls["lpips"]))
    pictures = np.arange(len(values))
    section.row(
        "lpips",
        bootstrap_mean(values, pictures, inputs.plan.draws(len(values))),
        int(known.sum()),
        attribute=name,
        null=still,
        missing=int((~known).sum()),
    )
