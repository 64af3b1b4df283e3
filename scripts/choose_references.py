"""Put a bank of references together from folders of them, and write it into a model folder.

    python scripts/choose_references.py MODEL heads.txt FOLDER=6 FOLDER=4:0,4 ...

FOLDER comes from ``python -m understudy.people.references``; a head gives at most as many views of it as the number
says, spread over the turn of the head, and with ``:0,4`` only if its age group is one of these. heads.txt names the
heads that were chosen, one a line, as labels call their subject. The tags are what was rendered.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.attributes.head_pose import estimate_yaw_deg
from understudy.diffusion.networks import load_config, load_references, save_references
from understudy.people.references import LABELS
from understudy.train.bank import reference_bank
from understudy.train.records import Record, load_records


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


def spread(records: Sequence[Record], n: int) -> list[Record]:
    """At most ``n`` of some views of one head, from the one that is turned furthest one way to the other."""
    seen = np.ones(len(records[0].keypoints))
    order = np.argsort([estimate_yaw_deg(record.keypoints, seen, record.xyxy) or 0.0 for record in records])
    places = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return [records[order[place]] for place in places]


def main() -> None:
    """Write the bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="its config.json and present bank say the tags and the mean keypoints")
    parser.add_argument("heads", type=Path)
    parser.add_argument("sources", nargs="+", type=Source.read)
    args = parser.parse_args()
    config, before = load_config(args.model), load_references(args.model)
    if before is None:
        raise SystemExit(f"{args.model} has no bank yet: `understudy train` makes the first")
    heads = frozenset(args.heads.read_text().split())
    keys = list(config.style_tags)
    chosen: list[Record] = []
    for source in args.sources:
        by_head: dict[str, list[Record]] = defaultdict(list)
        for record in load_records(source.folder / LABELS, tag_keys=keys):
            group = record.tags[keys.index("age_group")]
            if record.subject in heads and (source.age_groups is None or group in source.age_groups):
                by_head[record.subject].append(record)
        taken = [record for name in sorted(by_head) for record in spread(by_head[name], source.n_views)]
        print(f"{source.folder}: {len(taken)} references of {len(by_head)} heads")
        chosen += taken
    bank = reference_bank(sorted(chosen, key=lambda record: record.subject), before.mean_keypoints)
    save_references(args.model, bank)
    print(f"{len(bank)} references of {len(set(bank.subjects.tolist()))} heads, {len(bank.files) / 1e6:.2f} MB")
    for name, column in zip(keys, bank.tags.T, strict=True):
        values, counts = np.unique(column, return_counts=True)
        print(f"{name}: {dict(zip(values.tolist(), counts.tolist(), strict=True))}")


if __name__ == "__main__":
    main()
