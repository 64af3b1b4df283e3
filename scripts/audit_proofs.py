"""Known truth for the audit: portraits with planted changes, read once, and what the audit says of each collection."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import audit_plants as plants
import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.bins import age_group
from understudy.audit.beautification import PARTS, beautification_index
from understudy.audit.cache import Cache
from understudy.audit.collect import collect
from understudy.audit.faces import PictureFaces, _beauty
from understudy.audit.labels import join_labels, read_labels
from understudy.audit.resampling import Plan
from understudy.audit.run import GROUPED_BY, SECTIONS, AuditJob
from understudy.audit.sections import Inputs, Used, make_groupings, make_subjects
from understudy.audit.study import PairFiles, PairReader, PairRecord
from understudy.audit.table import Finding
from understudy.config.audit import build_audit
from understudy.config.compose import compose_config
from understudy.config.read import read
from understudy.config.schema import Audit
from understudy.imaging import decode

ATTACKERS = ("dlib", "mobilefacenet", "retail_0095")
N_NULLS = 3
SHARE_LIGHTER, SHARE_LEFT, EVERY_SMOOTH, YEARS = 0.1, 0.05, 3, 5.0
MAX_PIXELS = 50_000_000


def portraits(n: int) -> list[Path]:
    """That many portraits, evenly over all of them; exits where there are none."""
    folder = Path(
        os.environ.get("UNDERSTUDY_BENCH_PORTRAITS", Path(__file__).resolve().parents[2] / "shared" / "portraits")
    )
    found = sorted(folder.glob("*.jpg"), key=lambda p: (len(p.stem), p.stem))
    if not found:
        raise SystemExit(f"no pictures in {folder}: set UNDERSTUDY_BENCH_PORTRAITS to a folder of portraits (*.jpg)")
    places = np.unique(np.linspace(0, len(found) - 1, min(n, len(found))).round().astype(int))
    return [found[i] for i in places]


def build_job(cache: Path, **settings: object) -> AuditJob:
    """An audit's parts, with three attackers, and yunet as the second detector."""
    overrides = [f"attacker=[{','.join(ATTACKERS)}]", "second=yunet", f"cache={cache}"]
    overrides += [f"{key}={value}" for key, value in settings.items()]
    config = compose_config("audit", ["before=none", "after=none", "output=none", *overrides], None)
    return build_audit(read(config, Audit, "audit"))


def view_of(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a file."""
    return decode(path.read_bytes(), path.name, max_pixels=MAX_PIXELS).view


def in_gamma(rated: Path) -> dict[str, float]:
    """Mean rating of gender (100: masculine) by picture."""
    with rated.open(newline="") as lines:
        return {f"{row['stimulus']}.jpg": float(row["gender"]) for row in csv.DictReader(lines)}


class Stages:
    """Every version of every portrait: written once, read once, kept by digest.

    Parameters
    ----------
    job : AuditJob
    sources : list of Path
    folder : Path
        For pictures and readings.
    """

    def __init__(self, job: AuditJob, sources: Sequence[Path], folder: Path) -> None:
        self.sources, self.folder, self.job = list(sources), folder, job
        self.names = [p.name for p in sources]
        self.read = PairReader(job.readers, Cache(job.cache_folder, job.reader_record), None, max_pixels=MAX_PIXELS)
        self.views: dict[str, NDArray[np.uint8]] = {}
        self.truth_ita: dict[str, float] = {}

    def path(self, stage: str, name: str) -> Path:
        """Where a version of a picture lies."""
        return self.folder / "pictures" / stage / name

    def faces(self, name: str) -> PictureFaces:
        """The faces of an original."""
        return self.read._faces(self._picture(name), control=True)

    def _picture(self, name: str) -> object:
        from understudy.audit.study import _Picture

        return _Picture(self.sources[self.names.index(name)], name, MAX_PIXELS)

    def write(self, stage: str, name: str) -> Path:
        """The file of one version, made where it is not there."""
        path = self.path(stage, name)
        if not path.exists():
            view = view_of(self.sources[self.names.index(name)])
            edited = self.edit(stage, name, view)
            place = int(Path(name).stem) if Path(name).stem.isdigit() else self.names.index(name)
            which = int(stage.removeprefix("null")) if stage.startswith("null") else 0
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(plants.null_edit(edited, 1000 * which + place))
            part.rename(path)
        return path

    def edit(self, stage: str, name: str, view: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One version's pixels before they are compressed."""
        if stage.startswith("null"):
            return view
        faces = self.faces(name)
        if stage == "lighter":
            found = plants.lighten(view, faces)
            return view if found is None else found[0]
        made: NDArray[np.uint8] = {"smooth": plants.smooth, "group": plants.blur, "left": plants.fill}[stage](
            view, faces
        )
        return made

    def record(self, name: str, stage: str) -> PairRecord:
        """The reading of an original beside one version."""
        files = PairFiles(name, self.sources[self.names.index(name)], self.write(stage, name), name, None)
        found = self.read(files)
        if not isinstance(found, PairRecord):
            raise SystemExit(f"{name}: {found.reason}")
        return found

    def records(self, jobs: Sequence[tuple[str, str]], n_workers: int) -> dict[tuple[str, str], PairRecord]:
        """Readings of many (name, stage), with a word on how far it is."""
        found: dict[tuple[str, str], PairRecord] = {}
        with ThreadPoolExecutor(n_workers) as pool:
            for i, (job, record) in enumerate(zip(jobs, pool.map(lambda j: self.record(*j), jobs), strict=True)):
                found[job] = record
                if i % 50 == 49:
                    sys.stderr.write(f"read {i + 1} of {len(jobs)}\n")
        return found


def joined(after: PairRecord, null: PairRecord) -> PairRecord:
    """One record of an original, one version as after and another as the null edit."""
    return replace(
        after,
        null=null.after,
        null_pair=null.pair,
        null_faces=null.faces,
        digests=(*after.digests[:2], null.digests[1]),
    )


def older(record: PairRecord, years: float) -> PairRecord:
    """The record with every perceived age of after moved, and with all that follows from it by definition."""
    readings = {info.name: values for info, values in record.after.readings}
    age = readings["perceived_age"] + years
    moved = {
        "perceived_age": age,
        "age_group": np.array([age_group(v) if np.isfinite(v) else -1 for v in age], np.int64),
    }
    parts = record.after.parts.copy()
    parts[:, list(PARTS).index("youth")] -= years
    after = replace(
        record.after,
        readings=tuple((info, moved.get(info.name, values)) for info, values in record.after.readings),
        parts=parts,
    )
    return replace(record, after=after)


def findings_of(
    records: Sequence[PairRecord],
    job: AuditJob,
    sections: Sequence[str],
    *,
    plan: Plan,
    labels: Path | None = None,
    groups: tuple[str, ...] | None = None,
) -> list[Finding]:
    """What the audit's sections find in records, before p-values are adjusted; ``groups`` as in the audit's options."""
    second = job.readers.second
    study = collect(
        records,
        regions=None,
        detector=job.readers.detector.name,
        second=None if second is None else second.name,
        second_confidence=job.options.second_confidence,
    )
    options = replace(job.options, plan=plan)
    if groups is not None:
        options = replace(options, groups=groups, intersections=())
    told = None if labels is None else read_labels(labels, job.label_format)
    met = None if told is None else join_labels(told, study.pictures, study.face_picture, study.xyxy)
    groupings = make_groupings(study, told, met, options, GROUPED_BY)
    attacks = job.readers.attacks[:1]
    inputs = Inputs(study, make_subjects(study, met), groupings, options, attacks, Used(), told, met, second)
    return [finding for name in sections for finding in SECTIONS[name](inputs).findings]


@dataclass(frozen=True)
class Planted:
    """The collections with planted changes."""

    names: tuple[str, ...]
    lighter: frozenset[str]
    smooth: frozenset[str]
    blurred: frozenset[str]
    left: frozenset[str]
    rated: dict[str, float]

    def stage(self, plant: str, name: str) -> str:
        """The version of a picture that a collection holds."""
        if plant == "left":
            return "null0" if name in self.left else "left"
        chosen = {"lighter": self.lighter, "smooth": self.smooth, "group": self.blurred, "age": frozenset[str]()}[plant]
        return plant if name in chosen else "null0"


def choose(stages: Stages, seed: int = 0) -> Planted:
    """Which faces are changed in which collection."""
    names, rng = stages.names, np.random.default_rng(seed)
    rated = in_gamma(stages.sources[0].parent / "ratings.csv")
    wanted = round(SHARE_LIGHTER * len(names))
    lighter: list[str] = []
    for name in rng.permutation(names).tolist():
        if len(lighter) < wanted and (
            found := plants.lighten(view_of(stages.sources[names.index(name)]), stages.faces(name))
        ):
            lighter.append(name)
            stages.truth_ita[name] = found[1]
    left = rng.permutation(names)[: round(SHARE_LEFT * len(names))].tolist()
    return Planted(
        tuple(names),
        frozenset(lighter),
        frozenset(names[::EVERY_SMOOTH]),
        frozenset(n for n in names if rated[n] < 50),
        frozenset(left),
        rated,
    )


def write_labels(planted: Planted, path: Path) -> Path:
    """A label file with how people rated gender expression."""
    rows = [("picture", "rated"), *((n, "feminine" if planted.rated[n] < 50 else "masculine") for n in planted.names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return path


def true_sizes(plant: str, planted: Planted, stages: Stages) -> tuple[float, ...]:
    """The planted size for each row that must find it, from what was planted and not from that row."""
    n = len(planted.names)
    if plant == "lighter":
        return sum(stages.truth_ita.values()) / n, len(planted.lighter) / n
    if plant == "smooth":
        return (_smoothing(planted, stages),)
    if plant == "group":
        return 1 - len(planted.blurred) / n, 1.0
    return {"left": (len(planted.left) / n,), "age": (YEARS,)}[plant]


def _smoothing(planted: Planted, stages: Stages) -> float:
    """Mean change of smoothness in spreads between people, from pixels that were smoothed and never compressed."""
    place = list(PARTS).index("skin_smoothness")
    before = {name: stages.faces(name) for name in planted.names}
    rows = np.array([before[name].parts[0] for name in planted.names if len(before[name])])
    after = rows.copy()
    known = [name for name in planted.names if len(before[name])]
    for i, name in enumerate(known):
        if name in planted.smooth:
            view = stages.edit("smooth", name, view_of(stages.sources[stages.names.index(name)]))
            parts, _ = _beauty(view, before[name].keypoints[:1], np.array([np.nan]))
            after[i, place] = parts[0, place]
    names = list(PARTS)
    told = [[dict(zip(names, row, strict=True)) for row in part.tolist()] for part in (rows, after)]
    return float(np.nanmean(beautification_index(*told).standardised[:, place]))


def pool(n_workers: int) -> None:
    """One thread each for OpenCV: the workers are the threads."""
    del n_workers
    cv2.setNumThreads(1)
