"""Re-identification, resemblance and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audit.attackers import DLIB, Attack
from understudy.audit.collect import Embeddings
from understudy.audit.frechet import frechet_distance
from understudy.audit.grouping import group_gap
from understudy.audit.impostors import Impostors
from understudy.audit.reidentification import ClosedSet, Faces, found_blocks, search, search_parts
from understudy.audit.reidentification_table import FAMILY, HEADS, Attacker, attacker_findings
from understudy.audit.resampling import half_sample_interval, subject_index
from understudy.audit.resemblance import effective_people, resemblance, resembling_share
from understudy.audit.retrained import retrain
from understudy.audit.sections import Inputs, Section, guarded
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN, Status
from understudy.errors import InvalidInputError

PLACED = "@place"
"""After an attacker's name: somebody points out to it the places of faces that it did not find."""
N_ROC = 80
"""Points of a plotted curve."""
CMC_LENGTH = 50


def identity_section(inputs: Inputs) -> Section:
    """Every attacker's rows and curves, and who is less protected."""
    whole = Section()
    for attack in inputs.attacks:

        def make(section: Section, attack: Attack = attack) -> None:
            _attack_section(section, inputs, attack)

        part = guarded(f"attacker {attack.name}", make)
        if not part.findings:
            part.row("rank1_rate", NAN, 0, attribute=attack.name, unit="share", missing=inputs.study.n)
        merge(whole, part)
        found = inputs.study.embeddings[attack.name]
        if np.isfinite(found.placed).all(axis=1).sum() > np.isfinite(found.after).all(axis=1).sum():

            def place(section: Section, attack: Attack = attack) -> None:
                _attack_section(section, inputs, attack, placed=True)

            merge(whole, guarded(f"attacker {attack.name}{PLACED}", place))
    return whole


def merge(whole: Section, part: Section) -> None:
    """Add one section's rows, plots and messages to another."""
    whole.findings += part.findings
    whole.missing += part.missing
    for kind, named in part.plots.items():
        whole.plots.setdefault(kind, {}).update(named)


def attack_status(inputs: Inputs, attack: Attack) -> Status:
    """Of an attacker's rows: selected where the anonymiser's guard used the same embedder."""
    return Status.SELECTED if attack.embedder.name in inputs.used.embedders else Status.OK


def build_attacker(inputs: Inputs, attack: Attack, *, placed: bool = False) -> tuple[Attacker, bool]:
    """The attacker with gallery, probes and control; whether the control is another picture of the person.

    Where enough people have two pictures before, the last one of each is the control and is not in the gallery; else
    the control is an altered copy of each face. With ``placed``, somebody points out the faces after that were not
    found: a mosaic or a blur hides a face from a detector, and from nobody who looks.
    """
    found: Embeddings = inputs.study.embeddings[attack.name]
    held = held_out(inputs.subjects, inputs.options.minimum_n)
    gallery = Faces(found.before, inputs.subjects, attack.metric)
    probes = Faces(found.placed if placed else found.after, inputs.subjects, attack.metric)
    if held.any():
        control, gallery = gallery.take(held), gallery.take(~held)
    else:
        control = Faces(found.control, inputs.subjects, attack.metric)
    selected = attack_status(inputs, attack) is Status.SELECTED
    name = f"{attack.name}{PLACED}" if placed else attack.name
    return Attacker(name, gallery, probes, control, selected), bool(held.any())


def held_out(subjects: NDArray[np.int64], minimum_n: int) -> NDArray[np.bool_]:
    """(N,) True for the last face of each person who has two or more; nowhere where too few people have."""
    names, first, counts = np.unique(subjects[::-1], return_index=True, return_counts=True)
    held = np.zeros(len(subjects), np.bool_)
    if (counts > 1).sum() >= max(minimum_n, 2):
        held[len(subjects) - 1 - first[counts > 1]] = True
    del names
    return held


def _attack_section(section: Section, inputs: Inputs, attack: Attack, *, placed: bool = False) -> None:
    options = inputs.options
    attacker, _ = build_attacker(inputs, attack, placed=placed)
    n_subjects, n_found = (len(np.unique(s)) for s in (inputs.subjects, inputs.subjects[attacker.after.found]))
    nothing_to_learn = n_found < options.minimum_n and n_subjects >= 2 * options.minimum_n
    section.findings += attacker_findings(
        attacker,
        inputs.groupings,
        inputs.plan,
        minimum_n=options.minimum_n,
        far_targets=options.far_targets,
        heads=() if nothing_to_learn else HEADS,
    )
    found = search(attacker.after, attacker.before, inputs.plan, max_rank=CMC_LENGTH)
    raw = None if attacker.control is None else search(attacker.control, attacker.before, inputs.plan)
    _gaps(section, inputs, attacker, found)
    best, parts, learnt = _best_head(attacker, inputs)
    section.plot(
        "cmc",
        attacker.name,
        {
            "raw": None if raw is None else _cmc(raw),
            "anonymised": _cmc(found),
            "retrained": None if learnt is None else _cmc(learnt),
            "gallery_size": found.gallery_size,
        },
    )
    before, known = attacker.before, attacker.before.take(attacker.before.found)
    others = known if attacker.control is None else attacker.control
    strangers = Impostors(others, known, np.unique(np.concatenate([known.subjects, others.subjects])))
    section.plot(
        "roc",
        attacker.name,
        {
            "raw": None if attacker.control is None else _roc([(attacker.control, before)], strangers),
            "anonymised": _roc([(attacker.after, before)], strangers),
            "retrained": _roc(parts, None) if parts else None,
            "head": best,
        },
    )


def _best_head(attacker: Attacker, inputs: Inputs) -> tuple[str | None, list[tuple[Faces, Faces]], ClosedSet | None]:
    """The retrained head that identifies most, for the plots; none where nothing can be learnt."""
    best: tuple[str | None, list[tuple[Faces, Faces]], ClosedSet | None] = (None, [], None)
    if len(np.unique(inputs.subjects)) < 2 * inputs.options.minimum_n:
        return best
    for head in HEADS:
        try:
            parts = retrain(attacker.after, attacker.before, head, seed=inputs.plan.seed)
        except InvalidInputError:
            return best
        found = search_parts(parts, inputs.plan)
        if best[2] is None or found.rank1.value > best[2].rank1.value:
            best = head, parts, found
    return best


def _gaps(section: Section, inputs: Inputs, attacker: Attacker, found: ClosedSet) -> None:
    """Largest gap between groups, beside what shuffled labels give."""
    for grouping in inputs.groupings:
        gap = group_gap(
            found.hits,
            grouping,
            inputs.subjects,
            minimum_n=inputs.options.minimum_n,
            n_permutations=inputs.plan.n_permutations,
            seed=inputs.plan.seed,
        )
        section.row(
            "rank1_rate_gap",
            gap.observed,
            int(np.isfinite(found.hits).sum()),
            attribute=f"{attacker.name}/{grouping.attribute}",
            unit="share",
            null=gap.floor,
            p=gap.p_value,
            family=FAMILY,
            status=attacker.status,
        )


def _cmc(found: ClosedSet) -> dict[str, Any]:
    return {"rank": list(range(1, len(found.cmc) + 1)), "rate": [float(v) for v in found.cmc]}


def _genuine(probes: Faces, gallery: Faces) -> NDArray[np.float64]:
    """Similarities of genuine pairs of found faces, -inf for probes without a face."""
    parts = [
        scores[probes.subjects[rows][:, None] == gallery.subjects[None]]
        for rows, scores in found_blocks(probes, gallery)
    ]
    mated = np.isin(probes.subjects, gallery.subjects)
    return np.concatenate([*parts, np.full(int((mated & ~probes.found).sum()), -np.inf)])


def _roc(parts: Sequence[tuple[Faces, Faces]], strangers: Impostors | None) -> dict[str, Any] | None:
    """Share of genuine pairs over the thresholds that shares of impostor pairs pass; each part at its own."""
    known = [(probes, gallery.take(gallery.found)) for probes, gallery in parts]
    against = [
        Impostors(p, g, np.unique(np.concatenate([p.subjects, g.subjects]))) if strangers is None else strangers
        for p, g in known
    ]
    n_impostors = sum(a.n for a in against) if strangers is None else strangers.n
    if n_impostors < 10:
        return None
    fars = np.geomspace(max(1 / n_impostors, 1e-5), 1, N_ROC)
    accepted, total = np.zeros(len(fars)), 0
    for (probes, gallery), impostors in zip(known, against, strict=True):
        if impostors.n:
            genuine = _genuine(probes, gallery)
            accepted += (genuine[None] > impostors.thresholds(fars)[:, None]).sum(axis=1)
            total += len(genuine)
    return {"far": fars.tolist(), "tar": (accepted / total).tolist()} if total else None


def resemblance_section(inputs: Inputs) -> Section:
    """Whether an understudy is another real person, how different the understudies are, and their distance."""
    whole = Section()
    for attack in inputs.attacks:

        def make(section: Section, attack: Attack = attack) -> None:
            _resemblance(section, inputs, attack)

        merge(whole, guarded(f"resemblance, attacker {attack.name}", make))
    return whole


def _resemblance(section: Section, inputs: Inputs, attack: Attack) -> None:
    found, status = inputs.study.embeddings[attack.name], attack_status(inputs, attack)
    originals = Faces(found.before, inputs.subjects, attack.metric)
    understudies = Faces(found.after, inputs.subjects, attack.metric)
    n_found, n_lost = int(understudies.found.sum()), int((~understudies.found).sum())
    near = resemblance(understudies, originals)
    share = resembling_share(near, inputs.subjects, inputs.plan)
    section.row(
        "resembling_share",
        share,
        n_found,
        attribute=attack.name,
        unit="share",
        null=0.01,
        missing=n_lost,
        status=status,
    )
    section.row(
        "effective_people",
        effective_people(understudies),
        n_found,
        attribute=attack.name,
        unit="people",
        null=effective_people(originals.take(understudies.found)),
        missing=n_lost,
        status=status,
    )
    if attack.embedder.name == DLIB:
        _frechet(section, inputs, found, status)


def _frechet(section: Section, inputs: Inputs, found: Embeddings, status: Status) -> None:
    """Frechet distance in dlib's space, between the same faces before and after."""
    both = np.isfinite(found.before).all(axis=1) & np.isfinite(found.after).all(axis=1)
    n = int(both.sum())
    before, after = found.before[both], found.after[both]
    value = frechet_distance(before, after)
    null = NAN
    if found.null is not None:
        null = frechet_distance(before, found.null[both])
    interval = Interval(value, NAN, NAN)
    index, n_subjects = subject_index(inputs.subjects[both])
    if n_subjects > 2 * inputs.options.minimum_n:
        interval = half_sample_interval(
            lambda rows: frechet_distance(before[rows], after[rows]), value, index, n_subjects, inputs.plan
        )
        interval = Interval(value, max(interval.low, 0.0), interval.high)
    section.row(
        "frechet_distance",
        interval,
        n,
        attribute="dlib",
        null=null,
        missing=inputs.study.n - n,
        status=Status.OK if status is Status.SELECTED else status,
    )
