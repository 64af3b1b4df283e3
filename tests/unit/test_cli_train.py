"""train and export as a user calls them, on four drawn faces and with networks of a few channels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from understudy.attributes.policy import AttributePolicy
from understudy.cli.main import main
from understudy.config.training import measure_of

POINTS = [[40, 40], [56, 40], [48, 50], [42, 62], [54, 62]]
FEW = ["n_steps=2", "batch_size=4", "n_warmup_steps=1"]
TINY = [
    "n_crops=2",
    "crop_size=32",
    "margin_cells=0",
    "latent_channels=4",
    "decoder_channels=[8,8]",
    "n_norm_groups=4",
    "n_steps=2",
    "network.channels=[8,8]",
    "network.n_norm_groups=4",
    "network.head_channels=4",
    *(f"{network}.{setting}" for network in ("decoder", "denoiser", "sharpen") for setting in FEW),
    "sharpening.n_sampled=4",
    "sharpening.critic_channels=[4,4,4]",
]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people, labelled")
    rows = []
    for i in range(4):
        ys, xs = np.mgrid[0:96, 0:96]
        picture = np.full((96, 96, 3), (60 + 20 * i, 90, 140), np.uint8)
        picture[((xs - 48) / 22) ** 2 + ((ys - 48) / 30) ** 2 <= 1] = (220 - 30 * i, 170 - 20 * i, 140)
        Image.fromarray(picture).save(folder / f"{i}.png")
        row = {"file": f"{i}.png", "subject": f"s{i // 2}", "face_xyxy": [26, 18, 70, 78], "keypoints": POINTS}
        rows.append({**row, "skin_tone": i})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "labels.jsonl"


@pytest.fixture(scope="module")
def model(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "model"
    assert main(["train", f"labels={labels}", f"output={folder}", "onnx=false", *TINY]) == 0
    return folder


def test_training_writes_a_model_folder_and_keeps_its_checkpoints_beside_it(model: Path) -> None:
    assert json.loads((model / "config.json").read_text())["n_steps"] == 2
    assert not (model / "onnx").exists()
    assert sorted(p.name for p in model.with_name("model.work").iterdir()) == ["decoder", "denoiser", "sharpen"]
    assert all(list(p.glob("checkpoint*")) for p in model.with_name("model.work").iterdir())


def test_training_without_labels_stops_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"labels={tmp_path / 'absent'}", f"output={tmp_path / 'model'}"]) == 1
    assert "labels must be a file of JSON lines" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_training_measures_what_the_policy_reads_at_run_time() -> None:
    view = np.full((96, 96, 3), (200, 160, 140), np.uint8)
    face = (np.array([26, 18, 70, 78.0]), np.array(POINTS, np.float64), np.ones(5))
    read = AttributePolicy(("skin_tone", "head_pose")).read(view, *face)
    assert read.skin_tone is not None
    assert measure_of(("head_pose", "skin_tone"))(view, *face) == (read.head_pose, read.skin_tone)
