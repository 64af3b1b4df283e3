"""Put a bank of references together from folders of them, and write it into a model folder.

    python scripts/choose_references.py MODEL heads.txt FOLDER=6 FOLDER=4:0,4 ...

FOLDER comes from ``python -m understudy.people.references``; a head gives at most as many views of it as the number
says, spread over the turn of the head, and with ``:0,4`` only if its age group is one of these. heads.txt names the
heads that were chosen, one a line, as labels call their subject. The tags are what was rendered, but for the age group,
which is half what the attribute probe reads. Keypoints are read by the default detector, as those of the faces that are
replaced are: they differ from the mesh's by several degrees of yaw, and from head to head.

With ``--keep FILE=0:5,1:2`` heads of the model's present bank that FILE names stay beside the new ones, each with at
most so many of its pictures of these expressions, as they are; MODEL/heads.txt says which head is which, and is written
anew.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from generator_faces import part
from numpy.typing import NDArray

from understudy.attributes.bins import AGE_CUTS_YEARS, age_group
from understudy.attributes.head_pose import estimate_yaw_deg
from understudy.attributes.probe import AttributeProbe
from understudy.diffusion.networks import load_config, load_references, save_references
from understudy.diffusion.reference import ReferenceBank
from understudy.errors import InvalidInputError
from understudy.geometry import nose_offset
from understudy.people.references import LABELS
from understudy.train.bank import reference_bank
from understudy.train.records import Record, load_records

GREY, ROOM_PX = 110, 48
YOUNGER = 10.0
"""Years by which understudies of a head look younger than it was rendered, on the even half of the portraits."""
LARGEST_MOVE = 0.18
"""Of a picture's side: a reading with a keypoint farther from the mesh's own than this is none."""


@dataclass(frozen=True)
class Source:
    """A folder of references and what is taken of it."""

    folder: Path
    n_views: int
    age_groups: frozenset[int] | None

    @classmethod
    def read(cls, word: str) -> Source:
        """From ``FOLDER=6`` or ``FOLDER=4:0,4``."""
        folder, _, rest = word.rpartition("=")
        count, _, groups = rest.partition(":")
        return cls(Path(folder), int(count), frozenset(map(int, groups.split(","))) if groups else None)


def spread(offsets: Sequence[float] | NDArray[np.floating], n: int) -> list[int]:
    """Numbers of at most ``n`` views of one head, from the one that is turned furthest one way to the other."""
    order = np.argsort(offsets)
    places = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return [int(order[place]) for place in places]


def turns(records: Sequence[Record]) -> list[float]:
    """Yaw of each view by its keypoints, degrees."""
    return [estimate_yaw_deg(view.keypoints, np.ones(len(view.keypoints)), view.xyxy) or 0.0 for view in records]


@dataclass(frozen=True)
class Faces:
    """What the default detector and the attribute probe read of each reference."""

    keypoints: NDArray[np.float32]  # (N, 5, 2), the mesh's where no such face is found
    found: NDArray[np.bool_]  # (N,)
    years: NDArray[np.float64]  # (N,) perceived age, NaN where no face is found


def read_faces(bank: ReferenceBank) -> Faces:
    """Read every reference; heads have no surroundings, so each is looked at before a plain grey with room around."""
    detector, probe = part("detector", "default", "part.keypoints.onet=true"), AttributeProbe()
    keypoints, years = bank.keypoints.copy(), np.full(len(bank), np.nan)
    for i, own in enumerate(bank.keypoints):
        picture = bank.picture(i)
        share = picture[..., 3:] / 255
        head = (share * picture[..., :3] + (1 - share) * GREY + 0.5).astype(np.uint8)
        view = np.pad(head, ((ROOM_PX, ROOM_PX), (ROOM_PX, ROOM_PX), (0, 0)), constant_values=GREY)
        found = detector(view)
        if not len(found):
            continue
        best = int(np.argmax(found.confidence))
        points = np.asarray(found.keypoints[best], np.float32)
        if np.linalg.norm(points - ROOM_PX - own, axis=1).max() < LARGEST_MOVE * len(picture):
            keypoints[i] = points - ROOM_PX
            years[i] = probe.read(view, found.xyxy[best], points, np.ones(5)).number("perceived_age")
    return Faces(keypoints, np.isfinite(years), years)


def perceived_groups(
    bank: ReferenceBank, expression: int, faces: Faces, rendered: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Age group (N,) of each subject, by the mean of the rendered age and of what the probe reads at rest.

    Heads without hair look younger than they are rendered, so the probe's readings are lifted by the mean difference,
    and all of them count as ``YOUNGER`` years less. Children are as they were rendered: the probe seldom knows them.

    Parameters
    ----------
    expression : int
        Column of the tags that says which pictures show a head at rest, 0.
    rendered : (N,) years
    """
    at_rest = (bank.tags[:, expression] == 0) & faces.found
    subjects = np.unique(bank.subjects)
    of_subject = [(bank.subjects == subject) & at_rest for subject in subjects]
    read = np.array([faces.years[rows].mean() if rows.any() else np.nan for rows in of_subject])
    own = np.array([rendered[bank.subjects == subject][0] for subject in subjects])
    read = np.where(np.isfinite(read), read + np.nanmean(own - read), own)
    groups = np.array([age_group(years) for years in (own + read) / 2 - YOUNGER])
    groups = np.where(own < AGE_CUTS_YEARS[0], 0, np.maximum(groups, 1))
    return np.asarray(groups[np.searchsorted(subjects, bank.subjects)], np.int64)


def kept_of(
    bank: ReferenceBank, names: Sequence[str], keep: frozenset[str], expression: int, expressions: dict[int, int]
) -> tuple[ReferenceBank, list[str]]:
    """The part of a bank that shows some heads with some expressions, and these heads' names.

    Parameters
    ----------
    bank : ReferenceBank
    names : sequence of str
        Of its subjects, in the order of their numbers.
    keep : set of str
    expression : int
        Column of the tags that says which.
    expressions : dict of int
        How many views of each stay at most, spread over the turn of the head.

    Raises
    ------
    InvalidInputError
        There is not one name for each subject, or nothing would stay.
    """
    if len(names) != bank.subjects.max() + 1:
        raise InvalidInputError(
            f"{len(names)} names for the {bank.subjects.max() + 1} subjects of a bank: "
            "take heads.txt and references.npz of one version"
        )
    turn, rows = nose_offset(bank.keypoints), []
    for subject in (number for number, name in enumerate(names) if name in keep):
        for code, n in expressions.items():
            own = np.flatnonzero((bank.subjects == subject) & (bank.tags[:, expression] == code))
            rows += sorted(own[spread(turn[own], n)].tolist())
    if not len(rows):
        raise InvalidInputError(f"none of the {len(keep)} heads has a picture with expression {sorted(expressions)}")
    starts = np.concatenate([[0], bank.ends[:-1]])
    files = [bank.files[starts[row] : bank.ends[row]] for row in rows]
    left, subjects = np.unique(bank.subjects[rows], return_inverse=True)
    part = replace(
        bank,
        files=np.concatenate(files),
        ends=np.cumsum([len(file) for file in files]).astype(np.int64),
        keypoints=bank.keypoints[rows],
        ellipses=bank.ellipses[rows],
        tags=bank.tags[rows],
        subjects=subjects.astype(np.int64),
    )
    return part, [names[subject] for subject in left]


def joined(first: ReferenceBank, second: ReferenceBank) -> ReferenceBank:
    """Two banks as one, the subjects of the first one first."""
    return replace(
        first,
        files=np.concatenate([first.files, second.files]),
        ends=np.concatenate([first.ends, first.ends[-1] + second.ends]),
        keypoints=np.concatenate([first.keypoints, second.keypoints]),
        ellipses=np.concatenate([first.ellipses, second.ellipses]),
        tags=np.concatenate([first.tags, second.tags]),
        subjects=np.concatenate([first.subjects, first.subjects.max() + 1 + second.subjects]),
    )


def main() -> None:
    """Write the bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="its config.json and present bank say the tags and the mean keypoints")
    parser.add_argument("heads", type=Path)
    parser.add_argument("sources", nargs="+", type=Source.read)
    parser.add_argument("--keep", metavar="FILE=EXPRESSION:VIEWS,...", help="heads of the present bank that stay")
    args = parser.parse_args()
    config, before = load_config(args.model), load_references(args.model)
    if before is None:
        raise SystemExit(f"{args.model} has no bank yet: `understudy train` makes the first")
    heads = frozenset(args.heads.read_text().split())
    keys = [*config.style_tags, *config.reference_flags]
    chosen: list[Record] = []
    ages: dict[str, float] = {}
    for source in args.sources:
        rows = map(json.loads, (source.folder / LABELS).read_text().splitlines())
        ages |= {str(row["subject"]): float(row["age"]) for row in rows}
        by_head: dict[str, list[Record]] = defaultdict(list)
        for record in load_records(source.folder / LABELS, tag_keys=keys):
            group = record.tags[keys.index("age_group")]
            if record.subject in heads and (source.age_groups is None or group in source.age_groups):
                # what is not plain is told by a flag here
                by_head[record.subject].append(replace(record, plain=True) if config.reference_flags else record)
        taken = [by_head[name][i] for name in sorted(by_head) for i in spread(turns(by_head[name]), source.n_views)]
        print(f"{source.folder}: {len(taken)} references of {len(by_head)} heads")
        chosen += taken
    chosen.sort(key=lambda record: record.subject)
    bank = reference_bank(chosen, before.mean_keypoints)
    faces = read_faces(bank)
    tags = bank.tags.copy()
    rendered = np.array([ages[record.subject] for record in chosen])
    tags[:, keys.index("age_group")] = perceived_groups(bank, keys.index("expression"), faces, rendered)
    flags = slice(len(config.style_tags), None)
    tags[:, flags] = np.maximum(tags[:, flags], 0)  # labels from before there were flags: their heads had none
    bank = replace(bank, keypoints=faces.keypoints, tags=tags)
    print(f"keypoints read in {faces.found.sum()} of {len(bank)}")
    names = list(dict.fromkeys(record.subject for record in chosen))
    if args.keep is not None:
        file, _, codes = args.keep.rpartition("=")
        if not file or not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", codes):
            raise SystemExit(f"--keep wants FILE=EXPRESSION:VIEWS,..., as kept.txt=1:2,2:3; got {args.keep!r}")
        old, keep = (Path(path).read_text().split() for path in (args.model / "heads.txt", file))
        if wrong := sorted({*keep} - {*old} | {*keep} & {*names}):
            raise SystemExit(f"{file} names heads that the present bank has not, or that are new ones too: {wrong[:5]}")
        expressions = {int(code): int(n) for code, n in (part.split(":") for part in codes.split(","))}
        missing = len(keys) - before.tags.shape[1]  # flags that the present bank knows nothing of: its heads have none
        before = replace(before, tags=np.pad(before.tags, ((0, 0), (0, max(missing, 0)))))
        stay = kept_of(before, old, frozenset(keep), keys.index("expression"), expressions)
        bank, names = joined(stay[0], bank), stay[1] + names
        print(f"{args.model}: {len(stay[0])} references of {len(stay[1])} heads stay")
    save_references(args.model, bank)
    (args.model / "heads.txt").write_text("".join(f"{name}\n" for name in names))
    print(f"{len(bank)} references of {len(set(bank.subjects.tolist()))} heads, {len(bank.files) / 1e6:.2f} MB")
    for name, column in zip(keys, bank.tags.T, strict=True):
        values, counts = np.unique(column, return_counts=True)
        print(f"{name}: {dict(zip(values.tolist(), counts.tolist(), strict=True))}")


if __name__ == "__main__":
    main()
