"""Anonymisers side by side, as the audit sees them: a row of docs/benchmarks.md for each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_proofs as proofs

from understudy.audit.reidentification_table import HEADS
from understudy.audit.run import open_collections, run_audit
from understudy.config.audit import what_was_used
from understudy.config.embedded import model_folder
from understudy.diffusion.networks import CONFIG, REFERENCES, STYLES

OBSCURERS = ("blur", "pixelate", "solid")
NAMES = (*OBSCURERS, "latent")
Row = Mapping[str, Any]
TESTED = ("total_variation", "mean_drift", "beautification_drift")
PLACE = ", places pointed out"
CATEGORIES = (
    "skin_tone",
    "monk_tone",
    "age_group",
    "perceived_gender_expression",
    "expression",
    "glasses",
    "beard",
    "head_pose",
)
NUMBERS = ("ita", "perceived_age", "perceived_femininity", "perceived_darkness", "smile", "yaw")
FIGURES: tuple[tuple[str, str, str], ...] = (
    ("faces without a detected face after", "face_lost_share", ""),
    *((f"control: rank-1 of an altered copy, {a}", "raw_rank1_rate", a) for a in proofs.ATTACKERS),
    *((f"rank-1, {a}", "rank1_rate", a) for a in proofs.ATTACKERS),
    *((f"rank-1, {a}{PLACE}", "rank1_rate", f"{a}@place") for a in proofs.ATTACKERS),
    *((f"TAR at FAR 1e-3, {a}", "tar_at_far_1e-3", a) for a in proofs.ATTACKERS),
    *((f"TAR at FAR 1e-3, {a}{PLACE}", "tar_at_far_1e-3", f"{a}@place") for a in proofs.ATTACKERS),
    *((f"rank-1 retrained ({h}), {a}", "rank1_rate", f"{a}+{h}") for h in HEADS for a in proofs.ATTACKERS),
    *((f"rank-1 retrained ({h}), {a}{PLACE}", "rank1_rate", f"{a}@place+{h}") for h in HEADS for a in proofs.ATTACKERS),
    ("faces still the original", "residual_share", ""),
    ("understudies that resemble another original, dlib", "resembling_share", "dlib"),
    *((f"drift of {a}, total variation", "total_variation", a) for a in CATEGORIES),
    *((f"drift of {a}, mean", "mean_drift", a) for a in NUMBERS),
    ("beautification index", "beautification_drift", "index"),
    ("context SSIM", "context_ssim", ""),
    ("context, mean difference", "context_mean_abs", ""),
    ("seam (log ratio, 0: none)", "seam_visibility", ""),
    ("keypoints, NME", "keypoint_nme", ""),
    ("Frechet distance, dlib's space", "frechet_distance", "dlib"),
    ("AP after, CenterFace", "average_precision", "centerface"),
    ("AP after, YuNet", "average_precision", "yunet"),
)
"""Name in the table, metric, attribute."""


def anonymised(name: str, sources: Sequence[Path], folder: Path) -> Path:
    """A folder with the portraits anonymised in one way; what an earlier run left there goes."""
    output, listed = folder / name, folder / f"{name}.txt"
    if output.is_symlink():
        output.unlink()
    shutil.rmtree(output, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{path}\n" for path in sources))
    plain = ["guard=none", "residual=none"] if name in OBSCURERS else []
    command = [
        sys.executable,
        "-m",
        "understudy",
        "anonymize",
        f"input={listed}",
        f"output={output}",
        f"generator={name}",
    ]
    done = subprocess.run([*command, "runner.n_workers=1", *plain], check=False, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"generator={name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return output


def audit(name: str, stages: proofs.Stages, folder: Path, *, n_workers: int) -> dict[str, Any]:
    """One anonymiser's figures, gates and what did it."""
    after = anonymised(name, stages.sources, folder)
    before = folder / f"before-{len(stages.names)}"
    before.mkdir(parents=True, exist_ok=True)
    for source in stages.sources:
        stages.write("null0", source.name)
        if not (before / source.name).exists():
            os.link(source, before / source.name) if _one_disk(source, before) else shutil.copy(source, before)
    null = stages.path("null0", "").parent / "null0"
    job = replace(stages.job, before=str(before), after=str(after), null=str(null), n_workers=n_workers)
    collections = open_collections(job.before, job.after, job.null)
    manifest = collections["after"].manifest
    result = run_audit(job, what_was_used(manifest), collections)
    document = result.document()
    weights = {} if manifest is None else manifest.config.get("generator", {})
    made = {
        "table": [row for row in document["table"] if row["group"] == "overall"],
        "gates": [{key: gate[key] for key in ("name", "metric", "verdict", "reason")} for gate in document["gates"]],
        "n": len(stages.names),
        "made_by": made_by(name),
        "digest": document["collections"]["after"]["digest"],
        "generator": weights,
        "missing": document["missing"],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(made, indent=1))
    return made


def _one_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev


def made_by(name: str) -> str:
    """Digest of the code that draws faces, and for the embedded generator of its settings and references."""
    root = Path(__file__).resolve().parents[1]
    code = ("generate", "diffusion", "blend", "attributes") if name == "latent" else ("generate", "blend")
    files = [path for part in code for path in sorted((root / "src" / "understudy" / part).glob("*.py"))]
    if name == "latent":
        files += [model_folder("understudy-face-128") / part for part in (CONFIG, STYLES, REFERENCES)]
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def make(stages: proofs.Stages, only: Sequence[str], n_workers: int) -> dict[str, dict[str, Any]]:
    """The figures of every anonymiser: those of ``only`` and of changed code anew, the others as they are kept."""
    folder = stages.folder / "baselines"
    found = {}
    for name in NAMES:
        kept = folder / f"{name}.json"
        known = json.loads(kept.read_text()) if kept.exists() else None
        if name in only or known is None or (known["n"], known.get("made_by")) != (len(stages.names), made_by(name)):
            known = audit(name, stages, folder, n_workers=n_workers)
            sys.stderr.write(f"{name}: audited\n")
        found[name] = known
    return found


def _cell(row: Row | None) -> str:
    if row is None:
        return "none"
    if row["value"] is None:
        return "no face to read" if row["status"] == "not_measured" else str(row["status"]).replace("_", " ")
    share, close = row["unit"] == "share", row["metric"] == "context_ssim"

    def number(value: float) -> str:
        return f"{100 * value:.1f}" if share else f"{value:.5f}" if close else f"{value:.3g}"

    text = number(row["value"])
    if row["ci_low"] is not None:
        text += f" ({number(row['ci_low'])} to {number(row['ci_high'])})"
    text += " %" if share else f" {row['unit']}" if row["unit"] in ("years", "deg", "sd") else ""
    if row["metric"] == "total_variation" and row["null_value"] is not None:
        text += f" (floor {number(row['null_value'])})"
    if row["metric"] in TESTED and row["p_adjusted"] is not None:
        text += f", p {row['p_adjusted']:.2g}"
    return f"{text}, n {row['n']}" + (" *" if row["status"] == "selected" else "")


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as Markdown: a line for each figure, a column for each anonymiser."""
    names = list(found)
    lines = [f"| figure | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    rows = {name: {(row["metric"], row["attribute"]): row for row in known["table"]} for name, known in found.items()}
    for said, metric, attribute in FIGURES:
        cells = [rows[name].get((metric, attribute)) for name in names]
        if any(cell is not None for cell in cells):
            lines.append(f"| {said} | {' | '.join(_cell(cell) for cell in cells)} |")
    gates = {name: {(g["name"], g["metric"]): g["verdict"] for g in known["gates"]} for name, known in found.items()}
    for gate in dict.fromkeys(key for known in gates.values() for key in known):
        verdicts = " | ".join(gates[name].get(gate, "none") for name in names)
        lines.append(f"| gate {gate[0]}: {gate[1]} | {verdicts} |")
    return "\n".join(lines)
