"""Folders of pictures, and the manifest that understudy leaves beside its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.audit_stand_ins import draw, write

from understudy.audit.folders import collection_digest, named_targets, open_collection
from understudy.errors import InvalidInputError

RUN = """
config:
  detector: {_target_: understudy.detect.centerface.CenterFace, weights: centerface}
  guard:
    _target_: understudy.guard.FaceGuard
    embedder: {_target_: understudy.embed.dlib_onnx.DlibOnnxEmbedder}
    detector: {_target_: understudy.detect.centerface.CenterFace}
  attributes: {_target_: understudy.attributes.policy.AttributePolicy, keep: [skin_tone]}
"""


def output_folder(folder: Path) -> Path:
    write(folder / "images", {"sub/a.png": draw(1), "b.heic.png": draw(2)})
    (folder / "run.yaml").write_text(RUN)
    (folder / "regions.csv").write_text(
        "image_id,region,x0,y0,x1,y1\nsub/a.png,0,1,2,30,40\nsub/a.png,1,5,5,9,9\nb.heic,0,0,0,10,10\n"
    )
    (folder / "images.csv").write_text("image_id,output\nsub/a.png,images/sub/a.png\nb.heic,images/b.heic.png\n")
    return folder


def test_pictures_are_listed_below_the_folder_and_other_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"b.png": draw(1), "deep/er/a.png": draw(2)})
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / ".hidden.png").write_bytes(b"x")
    found = open_collection(tmp_path, "before")
    assert found.pictures == ("b.png", "deep/er/a.png")
    assert found.skipped == {"notes.txt": "is no picture", "empty.jpg": "is empty"}
    assert found.manifest is None


def test_an_output_folder_is_read_with_what_it_says_of_itself(tmp_path: Path) -> None:
    for given in (output_folder(tmp_path), tmp_path / "images"):
        found = open_collection(given, "after")
        assert found.root == tmp_path / "images"
        assert found.pictures == ("b.heic.png", "sub/a.png")
        assert found.manifest is not None
        np.testing.assert_array_equal(found.manifest.regions["sub/a.png"], [[1, 2, 30, 40], [5, 5, 9, 9]])
        assert found.manifest.regions["b.heic.png"].shape == (1, 4)
        assert set(found.manifest.digests) == {"run.yaml"}


def test_what_an_anonymiser_worked_with_is_read_off_its_settings(tmp_path: Path) -> None:
    from understudy.config.audit import what_was_used

    manifest = open_collection(output_folder(tmp_path), "after").manifest
    used = what_was_used(manifest)
    assert used.detectors == {"centerface"}
    assert used.embedders == {"dlib_resnet"}
    assert used.policy
    assert what_was_used(None).embedders == frozenset()


def test_settings_that_name_something_strange_are_no_reason_to_stop(tmp_path: Path) -> None:
    from understudy.config.audit import what_was_used

    folder = output_folder(tmp_path)
    (folder / "run.yaml").write_text(
        "config: {guard: {_target_: os.system}, detector: {_target_: understudy.nowhere.X}}"
    )
    used = what_was_used(open_collection(folder, "after").manifest)
    assert (used.detectors, used.embedders, used.policy) == (frozenset(), frozenset(), False)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "does not exist: give a folder"),
        (lambda p: _file(p / "a.png"), "is a file: give a folder"),
        (lambda p: p, "holds no file: give a folder of pictures"),
        (lambda p: _file(p / "sub" / "a.txt").parent, "holds 1 files, none of which is a picture"),
    ],
)
def test_a_folder_without_pictures_is_refused_with_the_reason(tmp_path: Path, make: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"before=.*{said}"):
        open_collection(make(tmp_path), "before")  # type: ignore[operator]  # one of the lambdas above


def _file(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("text")
    return path


def test_the_digest_of_a_collection_depends_on_names_and_contents_and_on_no_order() -> None:
    one = collection_digest({"a": "1", "b": "2"})
    assert one == collection_digest({"b": "2", "a": "1"})
    assert len({one, collection_digest({"a": "2", "b": "1"}), collection_digest({"a": "1"})}) == 3


def test_targets_are_found_however_deep_they_lie() -> None:
    node = {"_target_": "a.B", "parts": [{"_target_": "c.D"}, {"x": {"_target_": None}}]}
    assert list(named_targets(node)) == ["a.B", "c.D"]
