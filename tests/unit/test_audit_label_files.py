"""Label files in the layouts in which FHIBE, FairFace and CelebA are published, and a plain one, through an audit."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.audit_stand_ins import draw, stand_ins, write

from understudy.audit.labels import LabelFormat
from understudy.audit.resampling import Plan
from understudy.audit.run import AuditJob, AuditResult, open_collections, run_audit
from understudy.audit.sections import Options, Used
from understudy.config.compose import compose_config
from understudy.config.parts import PartBuilder
from understudy.config.read import read
from understudy.config.schema import Audit

N = 24
CELEBA = [
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
]


def rows_to(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return path


def celeba_text(folder: Path) -> Path:
    """``list_attr_celeba.txt``: a count, the names, then a file and forty times -1 or 1, set apart by blanks."""
    lines = [str(N), " ".join(CELEBA) + " "]
    for i in range(N):
        values = [1 if name == "Male" and i % 2 else -1 for name in CELEBA]
        lines.append(f"{i + 1:06d}.jpg " + " ".join(f"{v:2d}" for v in values))
    path = folder / "list_attr_celeba.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def celeba_csv(folder: Path) -> Path:
    """``list_attr_celeba.csv``: image_id and the forty names."""
    rows = [[f"{i + 1:06d}.jpg", *(1 if name == "Male" and i % 2 else -1 for name in CELEBA)] for i in range(N)]
    return rows_to(folder / "list_attr_celeba.csv", [["image_id", *CELEBA], *rows])


def fairface(folder: Path) -> Path:
    """``fairface_label_val.csv``."""
    rows = [
        [f"val/{i + 1}.jpg", ("20-29", "more than 70")[i % 2], ("Male", "Female")[i % 2], "East Asian", bool(i % 3)]
        for i in range(N)
    ]
    return rows_to(folder / "fairface_label_val.csv", [["file", "age", "gender", "race", "service_test"], *rows])


def fhibe(folder: Path) -> Path:
    """``fhibe_downsampled.csv``, with the columns that FHIBE's own evaluation reads."""
    header = [
        "filepath", "json_path", "subject_id", "image_height", "image_width", "person_bbox", "face_bbox", "keypoints",
        "segments", "pronoun", "age", "ancestry", "natural_skin_color", "apparent_skin_color", "location_country",
    ]  # fmt: skip
    rows = [
        [
            f"data/raw/fhibe_downsampled/{i:02d}/main_{i}.png", f"data/raw/fhibe_downsampled/{i:02d}/main_{i}.json",
            f"subject_{i // 2}", 96, 96, "[0.0, 0.0, 96.0, 96.0]", "[24.0, 20.0, 48.0, 60.0]",
            "{'0. Nose': [48, 52, 1]}", "[]", f"['{('She/her/hers', 'He/him/his')[i % 2]}']", 18 + i,
            "['Africa', 'Eastern Africa']", "IV (Tan)", "III (Intermediate)", "KE",
        ]
        for i in range(N)
    ]  # fmt: skip
    return rows_to(folder / "fhibe_downsampled.csv", [header, *rows])


def plain(folder: Path) -> Path:
    rows = [[f"{i:02d}.png", ("red", "blue")[i % 2], 20 + i] for i in range(N)]
    return rows_to(folder / "labels.csv", [["picture", "team", "age"], *rows])


CASES: dict[str, tuple[Callable[[Path], Path], Callable[[int], str], str, str]] = {
    "celeba": (celeba_text, lambda i: f"{i + 1:06d}.jpg", "male=yes", "male=no"),
    "celeba_csv": (celeba_csv, lambda i: f"{i + 1:06d}.jpg", "male=yes", "male=no"),
    "fairface": (fairface, lambda i: f"val/{i + 1}.jpg", "gender=Female", "age_range=70 and over"),
    "fhibe": (fhibe, lambda i: f"{i:02d}/main_{i}.png", "pronoun=He/him/his", "ancestry=Africa + Eastern Africa"),
    "plain": (plain, lambda i: f"{i:02d}.png", "team=red", "team=blue"),
}
"""By format: the file, the pictures' names as the data set has them, and two groups that must have figures."""


def format_of(name: str) -> LabelFormat:
    overrides = ["before=a", "after=b", "output=c", f"label_format={name}"]
    built = PartBuilder()(read(compose_config("audit", overrides), Audit, "audit").label_format, "label_format")
    assert isinstance(built, LabelFormat)
    return built


def audit(folder: Path, name: str) -> AuditResult:
    write_labels, name_of, *_ = CASES[name]
    before = write(folder / "before", {name_of(i).replace(".jpg", ".png"): draw(i) for i in range(N)})
    after = write(folder / "after", {name_of(i).replace(".jpg", ".png"): draw(99 + i) for i in range(N)})
    job = AuditJob(
        before=str(before),
        after=str(after),
        readers=stand_ins(),
        options=Options(plan=Plan(seed=0, n_boot=20, n_permutations=19), minimum_n=5),
        labels=write_labels(folder),
        label_format=format_of(name),
    )
    return run_audit(job, Used(), open_collections(str(before), str(after), None))


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_audit_compares_the_groups_of_a_published_label_file(name: str, tmp_path: Path) -> None:
    result = audit(tmp_path, name)
    for group in CASES[name][2:]:
        row = result.table.get("residual_share", "", group)
        assert row is not None, sorted({r.group for r in result.table.rows})
        assert row.n > 0
    assert not any("no label" in said for said in result.missing.get("labels", [])), result.missing["labels"]


def test_two_pictures_of_one_person_of_fhibe_are_one_subject(tmp_path: Path) -> None:
    row = audit(tmp_path, "fhibe").table.get("gallery_size", "colours", "overall")
    assert row is not None
    assert row.value == N // 2
