"""Renders of the same heads at two ages, as the audit sees them: the plant "age + 5" on pixels.

usage: python scripts/audit_age.py PLAIN OLDER [--years 5] [--work FOLDER]
PLAIN and OLDER are folders of pictures with the same names, from ``python -m understudy.people.render`` without and
with ``--older 5``; PLAIN holds ``ages.csv`` (picture, age) besides. Writes the section ``audit-age`` of
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import audit_plants as plants
import audit_proofs as proofs
import audit_truth as truth
import cv2
import numpy as np
from bench import machine, write_section
from bench_audit import COMMIT

from understudy.audit.cache import Cache
from understudy.audit.resampling import Plan
from understudy.audit.run import AuditJob
from understudy.audit.statistics import Interval
from understudy.audit.study import PairFiles, PairReader, PairRecord
from understudy.audit.table import AuditTable, Row, adjusted_rows

SIZES = (10, 20, 30)
BANDS = ((20, 38), (38, 60), (60, 80))
"""Ages between which the renderer draws a face's years differently: folds, spots and grey begin at 38 to 40."""
N_POWER = 20
MAY_MOVE = plants.PLANTS["age"].may_move | {
    # the renderer draws folds, crow's feet and forehead lines, spots, sagging and thinner or greyer brows from 38 on
    "wrinkle_reduction", "skin_smoothness", "skin_evenness", "sharpness", "eye_contrast", "lip_contrast", "eye_size",
    "slimness", "averageness", "symmetry", "perceived_darkness", "smile", "expression", "glasses", "beard",
}  # fmt: skip
"""Written before the first run of this script: what a head that is really older may move besides its age."""


def read_pairs(plain: Path, older: Path, work: Path) -> tuple[list[PairRecord], AuditJob]:
    """Every pair with a null edit of the plain picture."""
    job = proofs.build_job(work / "readings")
    reader = PairReader(job.readers, Cache(job.cache_folder, job.reader_record), None, max_pixels=proofs.MAX_PIXELS)
    nulls, found = work / "null", []
    nulls.mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(sorted(plain.glob("*.png"))):
        null = nulls / f"{path.stem}.jpg"
        if not null.exists():
            null.write_bytes(plants.null_edit(proofs.view_of(path), i))
        record = reader(PairFiles(path.name, path, older / path.name, path.name, null))
        if not isinstance(record, PairRecord):
            raise SystemExit(f"{path.name}: {record.reason}")
        if len(record.before):
            found.append(record)
    return found, job


def findings(
    records: Sequence[PairRecord], job: AuditJob, labels: Path, plan: Plan, sections: Sequence[str]
) -> AuditTable:
    """The audit's rows on these pairs, p-values adjusted."""
    return AuditTable(adjusted_rows(proofs.findings_of(records, job, sections, plan=plan, labels=labels, groups=())))


def ages_read(record: PairRecord) -> tuple[float, float]:
    """Perceived age of the first face of the null edit, and of its partner after."""
    values = []
    for faces in (record.null, record.after):
        readings = {info.name: v for info, v in faces.readings} if faces is not None and len(faces) else {}
        values.append(float(readings["perceived_age"][0]) if "perceived_age" in readings else np.nan)
    return values[0], values[1]


def within_face(records: Sequence[PairRecord], years: float, seed: int = 0) -> Interval:
    """Drift of one half of the heads in the years of the other: how far its readings moved for the years planted there.

    Heads are drawn again, and each draw is split at random.
    """
    drift = np.array([after - before for before, after in map(ages_read, records)])
    drift = drift[np.isfinite(drift)]
    rng = np.random.default_rng(seed)

    def split() -> float:
        times = np.bincount(rng.integers(0, len(drift), len(drift)), minlength=len(drift))
        first = rng.permutation(len(drift)) < len(drift) // 2  # a head drawn twice stays in one half
        scale = np.average(drift[first], weights=times[first]) / years
        return float(np.average(drift[~first], weights=times[~first]) / scale) if scale > 0 else np.nan

    halves = [split() for _ in range(2000)]
    low, high = np.nanquantile(halves, [0.025, 0.975])
    return Interval(float(np.nanmedian(halves)), float(low), float(high))


def by_age(records: Sequence[PairRecord], job: AuditJob, labels: Path, ages: dict[str, float]) -> dict[str, Row]:
    """The audit's drift of perceived age in the heads under 38, of 38 to 60 and over 60."""
    found = {}
    for low, high in BANDS:
        part = [r for r in records if low <= ages[r.files.name] < high]
        row = findings(part, job, labels, Plan(0), ["drift"]).get("mean_drift", "perceived_age", "overall")
        if row is not None:
            found[f"mean_drift, heads of {low} to {high} ({row.n})"] = row
    return found


def power(records: Sequence[PairRecord], job: AuditJob, labels: Path, n: int) -> float:
    """Share of draws of n heads in which the drift of perceived age is found."""
    hits = 0
    for repeat in range(N_POWER):
        chosen = np.random.default_rng([n, repeat]).permutation(len(records))[:n]
        table = findings([records[i] for i in chosen], job, labels, Plan(repeat, 50, 199), ["drift"])
        row = table.get("mean_drift", "perceived_age", "overall")
        hits += row is not None and truth.is_found(row)
    return hits / N_POWER


def say(name: str, row: Row | Interval, years: float) -> str:
    """A line of the table."""
    low, high = (row.ci_low, row.ci_high) if isinstance(row, Row) else (row.low, row.high)
    p = f"{row.p_adjusted:.1g}" if isinstance(row, Row) and np.isfinite(row.p_adjusted) else ""
    covers = "yes" if low <= years <= high else "no"
    return f"| {name} | {row.value:.2f} | {low:.2f} to {high:.2f} | {p} | {covers} |"


def section(given: argparse.Namespace) -> str:
    """As Markdown."""
    labels = given.plain / "ages.csv"
    with labels.open(newline="") as lines:
        ages = {row["picture"]: float(row["age"]) for row in csv.DictReader(lines)}
    records, job = read_pairs(given.plain, given.older, given.work)
    table = findings(records, job, labels, Plan(0), ["drift", "beautification"])
    rows: dict[str, Row | None] = {
        name: table.get(name, "perceived_age", "overall") for name in ("mean_drift", "calibrated_drift")
    }
    fit = table.get("calibration_slope", "perceived_age", "overall")
    slope = "none" if fit is None else f"{fit.value:.2f} ({fit.ci_low:.2f} to {fit.ci_high:.2f})"
    astray = [r for r in truth.flags(table.rows) if r.attribute.removesuffix(" (label)").split("/")[0] not in MAY_MOVE]
    lines = [
        "| perceived age, years | value | 95 % interval | p after Holm | covers the planted size |",
        "|---|---|---|---|---|",
    ]
    rows |= by_age(records, job, labels, ages)
    lines += [say(name, row, given.years) for name, row in rows.items() if row is not None]
    lines.append(say("in the years of other heads (halves)", within_face(records, given.years), given.years))
    strength = ", ".join(f"{100 * power(records, job, labels, n):.0f} % of {n}" for n in SIZES if n < len(records))
    return (
        f"{len(records)} rendered heads of 20 to 80 years, one view each within 32 degrees, rendered twice with every "
        f"draw the same but {given.years:g} years added (`--older {given.years:g}`); another JPEG of the plain picture "
        "is the null edit. "
        f"Perceived age by the default read-outs.\n\n" + "\n".join(lines) + "\n\n"
        f"Slope of readings on true ages, between heads: {slope}. "
        f"Flagged besides and not on the list written before: {'; '.join(truth._say(r) for r in astray) or 'nothing'}. "
        f"Power: found in {strength} heads, "
        f"{N_POWER} draws each.\n\nMade by `python scripts/audit_age.py` at commit {COMMIT}; {machine()}."
    )


def main() -> None:
    """Read, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path)
    parser.add_argument("older", type=Path)
    parser.add_argument("--years", type=float, default=5.0)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "understudy" / "bench-audit-age")
    cv2.setNumThreads(1)
    write_section("audit-age", section(parser.parse_args()))


if __name__ == "__main__":
    main()
