"""FID, KID and LPIPS: the real networks with weights of our own, and the figures by a second way of computing them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.audit_stand_ins import FindsDrawn, draw, stand_ins, write

from understudy import weights
from understudy.audit.estimators import Reading
from understudy.audit.extractors import face_crops
from understudy.audit.labels import LabelFormat
from understudy.audit.resampling import Plan
from understudy.audit.run import AuditJob, AuditResult, open_collections, run_audit
from understudy.audit.sections import Options, Used
from understudy.audit.table import Row, Status
from understudy.config.audit import choose_where_here
from understudy.errors import ConfigError, InvalidInputError, MissingWeightsError

N = 26
NAMES = [f"{i:02d}.png" for i in range(N)]


class Means:
    """Three features of a picture: its mean colour."""

    name = "means"
    size = 16

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pictures.reshape(len(pictures), -1, 3).mean(axis=1).astype(np.float32)

    def digests(self) -> dict[str, str]:
        return {"means": "0"}


class Gap:
    """A distance: the mean difference of what is kept."""

    name = "gap"

    def distance(self, before: NDArray[np.uint8], after: NDArray[np.uint8], keep: NDArray[np.bool_]) -> float:
        return float(np.abs(before[keep].astype(float) - after[keep]).mean())

    def digests(self) -> dict[str, str]:
        return {}


class ReadsMouth:
    """Reads how open a mouth is: how light the picture's first pixel is."""

    name = "mouths"
    used_by_policy = False

    def read(self, views: Any, *_: Any) -> tuple[Reading, ...]:
        return (Reading.numbers("mouth_opening", "of its width", [float(v[0, 0, 0]) for v in views]),)


def changed(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """The picture with its face and its first pixel lighter."""
    after = picture.copy()
    after[20:80, 24:72] = np.clip(after[20:80, 24:72].astype(int) + by, 0, 255)
    after[0, 0] = np.clip(after[0, 0].astype(int) + by, 0, 255)
    return after


def audit(tmp_path: Path, **readers: Any) -> AuditResult:
    before = write(tmp_path / "before", {name: draw(i) for i, name in enumerate(NAMES)})
    after = write(tmp_path / "after", {name: changed(draw(i), 10 + i) for i, name in enumerate(NAMES)})
    null = write(tmp_path / "null", {name: changed(draw(i), 1) for i, name in enumerate(NAMES)})
    groups = None if "estimators" in readers else ("tone",)
    job = AuditJob(
        before=str(before),
        after=str(after),
        null=str(null),
        readers=replace(stand_ins(), **readers),
        options=Options(plan=Plan(seed=0, n_boot=40, n_permutations=49), groups=groups),
        label_format=LabelFormat(),
    )
    return run_audit(job, Used(), open_collections(str(before), str(after), str(null)))


def row(result: AuditResult, metric: str, attribute: str = "") -> Row:
    found = result.table.get(metric, attribute, "overall")
    assert found is not None, (metric, attribute)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of this module's audits lie."""
    return tmp_path_factory.mktemp("appearance")


@pytest.fixture(scope="module")
def full(folder: Path) -> AuditResult:
    """An audit with all that can be had."""
    return audit(folder, extractor=Means(), perceptual=Gap(), people=FindsDrawn("people"), estimators=(ReadsMouth(),))


@pytest.fixture(scope="module")
def bare(folder: Path) -> AuditResult:
    """The same audit with nothing that is optional."""
    return audit(folder)


def colours(folder: Path) -> NDArray[np.float64]:
    """The features of ``Means``, by another path: from the files, for the box that is drawn."""
    import cv2

    boxes = np.array([[24.0, 20.0, 72.0, 80.0]])
    views = [cv2.imread(str(folder / name))[..., ::-1].copy() for name in NAMES]
    return np.array([face_crops(v, boxes, 16)[0].reshape(-1, 3).mean(axis=0) for v in views], np.float64)


def test_fid_and_kid_are_those_of_the_formulas_and_have_intervals(folder: Path, full: AuditResult) -> None:
    from scipy.linalg import sqrtm
    from sklearn.metrics.pairwise import polynomial_kernel

    x, y = colours(folder / "before"), colours(folder / "after")
    sx, sy = np.cov(x.T), np.cov(y.T)
    fid = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx + sy - 2 * sqrtm(sx @ sy).real)
    found = row(full, "fid", "means")
    assert found.value == pytest.approx(fid, rel=1e-4)
    assert found.n == N
    assert found.ci_low < found.value < found.ci_high
    assert found.null_value < found.value / 10
    rng, m, values = np.random.default_rng(0), N // 2, []
    for _ in range(100):  # the same subsets, and the kernel by another library
        u, v = x[rng.choice(N, m, replace=False)], y[rng.choice(N, m, replace=False)]
        uu, vv, uv = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((u, u), (v, v), (u, v)))
        within = (uu.sum() - np.trace(uu) + vv.sum() - np.trace(vv)) / (m * (m - 1))
        values.append(within - 2 * uv.mean())
    kid = row(full, "kid", "means")
    assert kid.value == pytest.approx(np.mean(values), rel=1e-4)
    assert kid.ci_low < kid.value < kid.ci_high
    assert row(full, "kid_sd", "means").value == pytest.approx(np.std(values), rel=1e-4)
    assert row(full, "kid_sd", "means").n == m


def test_lpips_is_read_outside_the_masks_with_the_null_edit_beside_it(full: AuditResult) -> None:
    found = row(full, "lpips", "gap")
    assert found.n == N
    assert found.ci_low <= found.value <= found.ci_high
    assert 0 < found.null_value < found.value


def test_without_networks_the_rows_say_what_to_pull(bare: AuditResult) -> None:
    for metric in ("fid", "kid", "lpips"):
        assert row(bare, metric).status is Status.NOT_MEASURED
    said = " ".join(bare.missing["appearance"])
    assert "fid: not measured: run `understudy models pull inception_v3_torchvision`" in said
    assert "lpips: not measured: run `understudy models pull alexnet_torchvision`" in said


def test_people_are_looked_for_and_their_boxes_compared(full: AuditResult, bare: AuditResult) -> None:
    assert row(full, "average_precision", "people").value == 1.0
    assert row(bare, "average_precision", "people").status is Status.NOT_MEASURED
    assert "models pull yolox_nano" in " ".join(bare.missing["utility"])


def test_the_mouth_s_change_is_its_mean_size_beside_that_of_the_null_edit(full: AuditResult, bare: AuditResult) -> None:
    found = row(full, "mouth_opening_change", "mouths")
    before = [draw(i)[0, 0, 0] for i in range(N)]
    wanted = np.mean([abs(int(changed(draw(i), 10 + i)[0, 0, 0]) - int(b)) for i, b in enumerate(before)])
    assert found.value == pytest.approx(wanted)
    assert found.null_value == pytest.approx(1.0)
    assert row(bare, "mouth_opening_change").status is Status.NOT_MEASURED
    assert "estimator=[skin_tone,head_pose,readouts,landmarks]" in " ".join(bare.missing["fidelity"])


def test_a_crop_is_the_square_around_a_box_and_mirrors_what_lies_outside() -> None:
    view = np.arange(40 * 50 * 3, dtype=np.int64).reshape(40, 50, 3).astype(np.uint8)
    inside = face_crops(view, np.array([[20.0, 15, 30, 25]]), 16)[0]  # 10 px and 30 % on every side: 16 px
    np.testing.assert_array_equal(inside, view[12:28, 17:33])
    corner = face_crops(view, np.array([[-5.0, -5, 5, 5]]), 16)[0]
    np.testing.assert_array_equal(corner[8:, 8:], view[:8, :8])
    np.testing.assert_array_equal(corner[:8, 8:], view[:8, :8][::-1])


def register(monkeypatch: pytest.MonkeyPatch, folder: Path, names: dict[str, str]) -> None:
    """Files of a mirror folder in the place of registered weights, each under its own digest."""
    common = {"task": "", "licence": "", "training_data": "", "source": "", "kind": "pickle", "size": 1}
    found = {
        name: weights.Entry(name, file=file, sha256=weights.file_digest(folder / file), **common)  # type: ignore[arg-type]
        for name, file in names.items()
    }
    monkeypatch.setattr(weights, "_registry", lambda: found)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(folder))


@pytest.fixture
def inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's network with random weights, in a mirror folder."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    with torch.device("meta"):
        empty = models.inception_v3(weights=None, aux_logits=True, init_weights=False)
    state = empty.to_empty(device="cpu").state_dict()
    for name, values in state.items():
        if name.endswith(("running_var", "bn.weight")):
            values.fill_(1)
        elif name.endswith(".weight"):
            values.normal_(0, (2 / values[0].numel()) ** 0.5)
        else:
            values.zero_()
    torch.save(state, tmp_path / "inception.pth")
    register(monkeypatch, tmp_path, {"inception_v3_torchvision": "inception.pth"})
    return tmp_path / "inception.pth"


def test_inception_gives_what_torchvision_s_classifier_would_see(inception: Path) -> None:
    import torch
    from torchvision.models import inception_v3

    from understudy.embed.inception import InceptionV3

    pictures = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3)).astype(np.uint8)
    ours = InceptionV3().features(pictures)
    with torch.device("meta"):
        theirs = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=True)
    theirs.load_state_dict(torch.load(inception, weights_only=True), assign=True)
    seen: list[torch.Tensor] = []
    theirs.eval().fc.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    planes = torch.from_numpy(pictures).float().div(255)  # torchvision's own preparation, which its network undoes
    with torch.inference_mode():
        theirs(((planes - mean) / deviation).permute(0, 3, 1, 2))
    np.testing.assert_allclose(ours, seen[0].numpy(), rtol=1e-3, atol=1e-4)
    assert ours.shape == (1, 2048)
    assert InceptionV3().digests() == {"inception_v3_torchvision": weights.file_digest(inception)}
    with pytest.raises(InvalidInputError, match="299, 299"):
        InceptionV3().features(pictures[:, :100])


def alexnet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    """AlexNet's convolutions and a calibration, random, in a mirror folder; the network and the calibration."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(1)
    with torch.device("meta"):
        empty = models.alexnet(weights=None).features
    network = empty.to_empty(device="cpu")
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.05)
    torch.save({f"features.{k}": v for k, v in network.state_dict().items()}, folder / "alexnet.pth")
    widths = (64, 192, 384, 256, 256)
    lines = [torch.rand(1, width, 1, 1) for width in widths]
    torch.save({f"lin{i}.model.1.weight": line for i, line in enumerate(lines)}, folder / "lin.pth")
    register(monkeypatch, folder, {"alexnet_torchvision": "alexnet.pth", "lpips_alex": "lin.pth"})
    return network.eval(), lines


def test_lpips_is_that_of_its_definition_and_sees_only_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, lines = alexnet(tmp_path, monkeypatch)
    import torch

    from understudy.embed.lpips import LpipsAlex

    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 256, (80, 96, 3)).astype(np.uint8) for _ in range(2))
    everywhere = np.ones((80, 96), np.bool_)
    total = 0.0
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    h, g = ((torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 - shift) / scale for p in (a, b))
    with torch.inference_mode():
        for i, layer in enumerate(network):
            h, g = layer(h), layer(g)
            if i in (1, 4, 7, 9, 11):  # rectified
                gap = (torch.nn.functional.normalize(h, dim=1) - torch.nn.functional.normalize(g, dim=1)) ** 2
                total += float(torch.nn.functional.conv2d(gap, lines[(1, 4, 7, 9, 11).index(i)]).mean())
    lpips = LpipsAlex()
    assert lpips.distance(a, b, everywhere) == pytest.approx(total, rel=1e-4)
    assert lpips.distance(a, a, everywhere) == 0
    left = everywhere.copy()
    left[:, 48:] = False
    half = a.copy()
    half[:, 48:] = b[:, 48:]
    assert lpips.distance(a, half, left) == 0
    assert lpips.distance(a, half, ~left) > lpips.distance(a, half, everywhere) > 0
    assert np.isnan(lpips.distance(a, b, ~everywhere))
    assert np.isnan(lpips.distance(a[:40], b[:40], everywhere[:40]))


def test_other_networks_and_absent_weights_are_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alexnet(tmp_path, monkeypatch)
    from understudy.embed.inception import InceptionV3
    from understudy.embed.lpips import LpipsAlex

    with pytest.raises(ConfigError, match=r"lin\.pth holds no alexnet of torchvision"):
        LpipsAlex(weights="lpips_alex")
    with pytest.raises(ConfigError, match=r"alexnet\.pth holds no calibration of lpips"):
        LpipsAlex(calibration="alexnet_torchvision")
    with pytest.raises(ConfigError, match="holds no inception_v3 of torchvision"):
        InceptionV3("alexnet_torchvision")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(MissingWeightsError, match="models pull inception_v3_torchvision"):
        InceptionV3()


def test_what_is_on_this_machine_is_chosen_unless_the_user_chooses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setattr(weights, "is_here", lambda name: name == "inception_v3_torchvision")
    assert choose_where_here(["a=b"]) == ["a=b", "extractor=inception_v3_torchvision"]
    assert choose_where_here(["extractor=none"]) == ["extractor=none"]
