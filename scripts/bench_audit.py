"""Prove the audit on changes of known size, and write its part of docs/benchmarks.md: ``make bench-audit``.

Sections: ``truth`` (planted changes are found, and nothing else), ``null`` (two null edits against each other),
``baselines`` (blur, pixelate, solid and the embedded generator side by side), ``time`` (1,000 pairs, cold
and cached). ``--only latent`` makes that column of the baselines anew; the others are kept. ``--read 0/2`` and
``--read 1/2`` only read pictures, in two processes. Portraits with ``ratings.csv``: ``UNDERSTUDY_BENCH_PORTRAITS``, or
``../shared/portraits`` where it exists. Pictures and readings are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import audit_baselines as baselines
import audit_clock as clock
import audit_proofs as proofs
import audit_truth as truth
import cv2
from bench import machine, write_section

SECTIONS = ("truth", "null", "baselines", "time")


def needed(planted: proofs.Planted) -> list[tuple[str, str]]:
    """Every (name, stage) that truth and null read."""
    jobs = [(name, f"null{k}") for k in range(proofs.N_NULLS) for name in planted.names]
    for plant in ("lighter", "smooth", "group", "left"):
        jobs += [(name, plant) for name in planted.names if planted.stage(plant, name) == plant]
    return jobs


def commit() -> str:
    """The state of the code, as git says."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"


COMMIT = commit()


def made_by(stages: proofs.Stages, section: str) -> str:
    """Who made a section, where and with what."""
    readouts = next((d for name, d in stages.job.reader_record["weights"].items() if "readouts" in name), "none")  # type: ignore[attr-defined]
    return (
        f"`python scripts/bench_audit.py --section {section} --n {len(stages.names)}` at commit {COMMIT}, read-outs "
        f"{readouts[:8]}; {machine()}."
    )


def write_truth(stages: proofs.Stages, given: argparse.Namespace) -> str:
    """The section on planted changes."""
    planted = proofs.choose(stages)
    records = stages.records(needed(planted), given.workers)
    told = truth.truth(stages, planted, records)
    low, high = proofs.plants.QUALITIES
    return (
        f"{len(planted.names)} portraits; every picture, changed or not, is shifted by up to "
        f"{proofs.plants.SHIFT_PX} px "
        f"and compressed as JPEG at a quality of {low} to {high}, and another such copy is the null edit. "
        "True sizes come "
        "from the edit itself: the lightened pixels measured by another routine, smoothing before any "
        "compression, shares "
        "of pictures. The expected side effects stand in `scripts/audit_plants.py` and were written before "
        "the first run. "
        f"Power: {truth.N_POWER} draws of people each, of the first row (of the gap for the blurred group). "
        "Age is planted on the "
        "readings here, and on renders of one seed in the next section."
        " An earlier run missed the lighter skins (signed-rank test, p 0.62 after Holm: the test is a t test "
        "since), and "
        "its smoothing, which took in eyes and mouth, was flagged for `smile` and `eye_size` besides: it spares them "
        "since.\n\n"
        f"{truth.truth_table(told)}\n\nMade by {made_by(stages, 'truth')}"
    )


def write_null(stages: proofs.Stages, given: argparse.Namespace) -> str:
    """The section on nothing."""
    jobs = [(name, f"null{k}") for k in range(proofs.N_NULLS) for name in stages.names]
    found = truth.nothing(stages, stages.records(jobs, given.workers))
    return (
        f"{proofs.N_NULLS} null edits of {len(stages.names)} portraits, read once; {found.n_repeats} times "
        f"{min(truth.NULL_PEOPLE, len(stages.names))} people are drawn without replacement, and for each person which "
        "edit is the output and which the null. At most 16 of 200 repeats may reject at 5 %.\n\n"
        f"{truth.null_table(found)}\n\nMade by {made_by(stages, 'null')}"
    )


def write_baselines(stages: proofs.Stages, given: argparse.Namespace) -> str:
    """The section with anonymisers side by side."""
    found = baselines.make(stages, given.only, given.workers)
    return (
        f"{len(stages.names)} portraits of 320 px; 95 % intervals over people; n: readings that a figure "
        "rests on. Blur, "
        "pixelate and solid with `guard=none residual=none`, the embedded generator (`generator=latent`) as it is by "
        "default. *: measured with what the anonymiser itself selected with, no independent judge. Retrained attackers "
        "learn from anonymised pictures of people whom they know. Places pointed out: where the attacker's detector "
        "finds no face, somebody shows it the place. A drift is measured on faces that can be read in every "
        "folder; the "
        "null edit is a shift of up to half a pixel and another JPEG quality. p after Holm.\n\n"
        f"{baselines.table(found)}\n\nMade by {made_by(stages, 'baselines')}"
    )


def write_time(stages: proofs.Stages, given: argparse.Namespace) -> str:
    """The section on time and memory."""
    return f"{clock.measure(stages, given.pairs)}\n\nMade by {made_by(stages, 'time')}"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", nargs="*", default=[], choices=SECTIONS)
    parser.add_argument("--only", nargs="*", default=[], choices=baselines.NAMES, help="baselines to make anew")
    parser.add_argument("--n", type=int, default=251, help="portraits")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of the section time")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "understudy" / "bench-audit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--read", default="", help="only read, this part of it: 0/2, 1/2")
    return parser.parse_args(argv)


def main() -> None:
    """Run the sections that are named, or all."""
    given = arguments()
    cv2.setNumThreads(1)  # the workers are the threads
    job = proofs.build_job(given.work / "readings")
    stages = proofs.Stages(job, proofs.portraits(given.n), given.work)
    if given.read:
        jobs = [(name, f"null{k}") for k in range(proofs.N_NULLS) for name in stages.names][::-1]
        stages.records(needed(proofs.choose(stages)) if given.read.startswith("0") else jobs, given.workers)
        return
    writers = {"truth": write_truth, "null": write_null, "baselines": write_baselines, "time": write_time}
    for name in given.section or (["baselines"] if given.only else SECTIONS):
        write_section(f"audit-{name}", writers[name](stages, given))
        sys.stderr.write(f"{name}: written\n")


if __name__ == "__main__":
    main()
