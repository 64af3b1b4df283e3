"""Training: data, losses, averages, checkpoints, and both loops with tiny networks."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from understudy.diffusion.autoencoder import pixels_from_uint8  # noqa: E402
from understudy.errors import InvalidInputError, StateMismatchError  # noqa: E402 - after the check for torch
from understudy.train.checkpoint import append_losses, load_checkpoint, save_checkpoint, trim_losses  # noqa: E402
from understudy.train.data import CropBank, cut_off, make_bank, mirror, without_margin  # noqa: E402
from understudy.train.denoiser import DenoiserSettings, balanced_chance, train_denoiser  # noqa: E402
from understudy.train.ema import MovingAverage  # noqa: E402
from understudy.train.loop import Schedule, fit  # noqa: E402
from understudy.train.losses import flow_matching_loss, reconstruction_loss  # noqa: E402
from understudy.train.model import train_model  # noqa: E402
from understudy.train.records import load_records  # noqa: E402
from understudy.train.run import fit_encoder, train_decoder  # noqa: E402
from understudy.train.sharpen import Contest, Critic, SharpenSettings, sharpen_decoder  # noqa: E402

TINY = DenoiserSettings(
    channels=(8, 8),
    n_norm_groups=4,
    head_channels=4,
    n_categories=(6,),
    style_channels=4,
    style_dropout=0.1,
    residual=False,
)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of ovals with eyes, two of each subject, and their labels."""
    folder = tmp_path_factory.mktemp("people")
    rows = []
    for i in range(4):
        ys, xs = np.mgrid[0:96, 0:96]
        picture = np.full((96, 96, 3), (60 + 20 * i, 90, 140), np.uint8)
        picture[((xs - 48) / 22) ** 2 + ((ys - 48) / 30) ** 2 <= 1] = (220 - 30 * i, 170 - 20 * i, 140)
        points = [[40, 40], [56, 40], [48, 50], [42, 62], [54, 62]]
        for x, y in points:
            picture[y - 2 : y + 2, x - 3 : x + 3] = 30
        Image.fromarray(picture).save(folder / f"{i}.png")
        rows.append({"file": f"{i}.png", "subject": f"s{i // 2}", "face_xyxy": [26, 18, 70, 78], "keypoints": points})
        rows[-1]["skin_tone"] = i
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "labels.jsonl"


@pytest.fixture(scope="module")
def bank(labels: Path) -> CropBank:
    """Three crops of every picture."""
    return make_bank(load_records(labels, ("skin_tone",)), 3, 0, crop_size=32, measure=lambda *_: (2,))


def test_a_bank_repeats_with_its_seed(labels: Path, bank: CropBank) -> None:
    """The same seed cuts the same crops; another seed cuts others."""
    records = load_records(labels, ("skin_tone",))
    again = make_bank(records, 3, 0, crop_size=32, measure=lambda *_: (2,))
    np.testing.assert_array_equal(bank.pixels, again.pixels)
    assert (bank.pixels != make_bank(records, 3, 1, crop_size=32).pixels).any()


def test_a_bank_knows_who_is_who(bank: CropBank) -> None:
    """Two subjects of two pictures with three crops each."""
    assert bank.subjects == ("s0", "s1")
    assert np.bincount(bank.subject).tolist() == [6, 6]
    assert bank.categories.tolist() == [[2]] * 12


def test_visible_keypoints_lie_under_the_mask(bank: CropBank) -> None:
    """What is drawn as a keypoint lies in the part that is replaced."""
    rows, points = np.nonzero(bank.visibility)
    assert len(rows) >= 30
    x, y = np.floor(bank.keypoints[rows, points]).astype(int).T
    assert bank.replace_mask[rows, y, x].mean() > 0.97


def test_a_margin_is_cut_from_every_side(bank: CropBank) -> None:
    """Eight pixels less on each side: the same picture, and keypoints that moved with it."""
    inner = without_margin(bank, 8)
    np.testing.assert_array_equal(inner.pixels, bank.pixels[:, 8:24, 8:24])
    np.testing.assert_array_equal(inner.keypoints, bank.keypoints - 8)


def test_mirroring_swaps_left_and_right() -> None:
    """The subject's right eye stays first, and lies on the other side of the picture."""
    points = np.array([[3.0, 4], [7, 4], [5, 6], [4, 8], [6, 8]])
    picture, box, mirrored = mirror(np.zeros((10, 12, 3), np.uint8), np.array([2.0, 1, 8, 9]), points)
    assert picture.shape == (10, 12, 3)
    np.testing.assert_array_equal(box, [4, 1, 10, 9])
    np.testing.assert_array_equal(mirrored[0], [5, 4])
    np.testing.assert_array_equal(mirrored[3], [6, 8])


def test_labels_without_a_box_are_refused(tmp_path: Path) -> None:
    """The message names file and line."""
    (tmp_path / "labels.jsonl").write_text('{"file": "a.png"}\n')
    with pytest.raises(InvalidInputError, match=r"labels\.jsonl:1 lacks \['face_xyxy', 'keypoints'\]"):
        load_records(tmp_path / "labels.jsonl")


def test_the_reconstruction_loss_of_a_constant_error_is_twice_the_error() -> None:
    """Full size counts 1, two smaller sizes 0.5 each, and differences of a constant are 0."""
    target = torch.zeros(1, 3, 8, 8)
    assert float(reconstruction_loss(target + 0.1, target)) == pytest.approx(0.2, abs=1e-6)


def test_flow_matching_counts_weighted_cells_only() -> None:
    """An error where the weight is 0 does not count, and weights are normalised."""
    target = torch.zeros(1, 2, 2, 2)
    clean = target.clone()
    clean[..., 0, 0], clean[..., 1, 1] = 3, 100
    weight = torch.tensor([[[[5.0, 5.0], [5.0, 0.0]]]])
    assert float(flow_matching_loss(clean, target, weight)) == pytest.approx(3.0)


def test_a_rare_value_is_drawn_more_often_than_its_share() -> None:
    """One of ten: one over the root of its frequency, normalised: 1 / (1 + 9 / 3) = 1/4."""
    assert balanced_chance(np.array([1] + [0] * 9))[0] == pytest.approx(0.25)


def test_the_average_follows_its_formula() -> None:
    """After one step the warmed-up decay is 2/11."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    average = MovingAverage(network, 0.99)
    torch.nn.init.constant_(network.weight, 11.0)
    average.update(network, 1)
    average.copy_to(network)
    assert network.weight.item() == pytest.approx(9.0)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    """The message names the key and both values."""
    save_checkpoint(tmp_path, {"step": 1, "settings": {"seed": 1}})
    assert load_checkpoint(tmp_path, {"seed": 1}) is not None
    with pytest.raises(StateMismatchError, match="seed=1, now it is 2"):
        load_checkpoint(tmp_path, {"seed": 2})


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    """A new folder starts anew."""
    assert load_checkpoint(tmp_path / "new", {}) is None


def test_the_loss_curve_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    """Rows after the step that a training goes on from are written again, not twice."""
    for step in (10, 20, 30):
        append_losses(tmp_path, step, step * 4, {"loss": 1 / step})
    trim_losses(tmp_path, 20)
    assert (tmp_path / "losses.csv").read_text().splitlines() == ["step,n_samples,loss", "10,40,0.1", "20,80,0.05"]


def test_the_rate_warms_up_and_comes_down() -> None:
    """Linear over the warm-up, cosine after it, a fiftieth at the end."""
    schedule = Schedule(100, learning_rate=1.0, n_warmup_steps=10)
    assert schedule.rate_at(0.0, 0) == pytest.approx(0.1)
    assert schedule.rate_at(0.5, 50) == pytest.approx(0.51)
    assert schedule.rate_at(1.0, 99) == pytest.approx(0.02)


def test_two_workers_take_the_step_of_their_mean_gradient(tmp_path: Path) -> None:
    """Two workers whose losses have gradients 1 and 3 leave the gradient 2 to the optimizer."""
    network = torch.nn.Linear(1, 1, bias=False)

    def losses(part: torch.nn.Module, n: int, random: torch.Generator) -> dict[str, torch.Tensor]:
        factor = 1.0 if part is network else 3.0
        return {"loss": part(torch.ones(n, 1)).mean() * factor}

    schedule = Schedule(1, batch_size=4, gradient_norm=1e9, weight_decay=0.0)
    fit(network, losses, schedule, tmp_path, seed=0, settings={}, n_workers=2)
    assert network.weight.grad is not None
    assert network.weight.grad.item() == 2.0


def test_a_batch_that_workers_cannot_share_is_refused(tmp_path: Path) -> None:
    """Three workers and four samples."""
    with pytest.raises(InvalidInputError, match="divide the batch of 4, got 3"):
        fit(torch.nn.Linear(1, 1), lambda *_: {}, Schedule(1, 4), tmp_path, seed=0, settings={}, n_workers=3)


def test_the_decoder_learns_and_the_encoder_stays(bank: CropBank, tmp_path: Path) -> None:
    """Sixty steps make the reconstruction better than the linear one, with the encoder as it was."""
    model = fit_encoder(bank, seed=0, latent_channels=4, channels=(16, 16), n_norm_groups=4)
    pixels = torch.from_numpy(bank.pixels).permute(0, 3, 1, 2) / 127.5 - 1
    before, weights = float((model(pixels) - pixels).detach().abs().mean()), model.encoder.weight.clone()
    schedule = Schedule(60, batch_size=8, learning_rate=5e-3, n_warmup_steps=5, ema_decay=0.9)
    train_decoder(model, bank, tmp_path, schedule, seed=0, latent_noise=0.0)
    assert float((model(pixels) - pixels).detach().abs().mean()) < 0.95 * before
    torch.testing.assert_close(model.encoder.weight, weights)


def test_a_stopped_training_takes_the_same_steps_when_it_goes_on(bank: CropBank, tmp_path: Path) -> None:
    """Ten steps in one go, and four steps, a stop and six more, end at the same weights and the same loss curve."""
    model = fit_encoder(bank, seed=0, latent_channels=4, channels=(8, 8), n_norm_groups=4)
    schedule = Schedule(10, batch_size=4, n_warmup_steps=2, learning_rate=1e-3)

    class StopError(Exception):
        pass

    def stop(step: int, network: object) -> None:
        if step == 4:
            raise StopError

    whole = train_denoiser(model, bank, tmp_path / "whole", schedule, TINY, seed=3, save_every=4)
    with pytest.raises(StopError):
        train_denoiser(model, bank, tmp_path / "parts", schedule, TINY, seed=3, save_every=4, on_save=stop)
    parts = train_denoiser(model, bank, tmp_path / "parts", schedule, TINY, seed=3, save_every=4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


def test_training_lowers_the_loss_of_the_denoiser(bank: CropBank, tmp_path: Path) -> None:
    """The mean loss of the last ten of eighty steps is lower than that of the first ten."""
    model = fit_encoder(bank, seed=0, latent_channels=4, channels=(8, 8), n_norm_groups=4)
    schedule = Schedule(80, batch_size=16, learning_rate=4e-3, n_warmup_steps=5)
    from understudy.train import denoiser as module

    rows: list[float] = []
    original = module.flow_matching_loss

    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        value = original(*arguments)
        rows.append(float(value.detach()))
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "flow_matching_loss", recorded)
        train_denoiser(model, bank, tmp_path, schedule, TINY, seed=0)
    assert np.mean(rows[-10:]) < 0.8 * np.mean(rows[:10])


def test_a_trained_model_can_be_opened_and_used(labels: Path, tmp_path: Path) -> None:
    """A few steps of everything end in a folder whose denoiser and styles fit each other."""
    from understudy.diffusion.networks import load_styles
    from understudy.diffusion.torch_networks import TorchNetworks

    few = Schedule(2, batch_size=4, n_warmup_steps=1)
    config = train_model(
        labels,
        tmp_path / "work",
        tmp_path / "model",
        measure=lambda *_: (2,),
        categories=("skin_tone",),
        decoder=few,
        denoiser=few,
        settings=TINY,
        n_crops=2,
        crop_size=32,
        latent_channels=4,
        decoder_channels=(8, 8),
        n_norm_groups=4,
        margin_cells=0,
    )
    styles, networks = load_styles(tmp_path / "model"), TorchNetworks(tmp_path / "model")
    assert styles.tags.tolist() == [[1], [3]]
    latents = np.zeros((1, 4, 4, 4), np.float32)
    planes = np.zeros((1, 1 + config.n_keypoints + 6, 4, 4), np.float32)
    assert networks.denoise(latents, latents, planes, styles.draw(0)[None], 0.5).shape == latents.shape


def test_a_picture_that_is_cut_off_keeps_its_face_in_place() -> None:
    """What is left of the picture is the same, and the box and keypoints moved with it; at most a third is lost."""
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    xyxy, points = np.array([20, 10, 50, 46.0]), np.array([[30, 20], [40, 20], [35, 28], [31, 36], [39, 36.0]])
    for seed in range(12):
        cut, box, moved = cut_off(np.random.default_rng(seed), picture, xyxy, points)
        x, y = np.rint(xyxy[:2] - box[:2]).astype(int)
        np.testing.assert_array_equal(cut, picture[y : y + cut.shape[0], x : x + cut.shape[1]])
        np.testing.assert_allclose(moved + np.array([x, y]), points)
        inside = (min(box[2], cut.shape[1]) - max(box[0], 0)) * (min(box[3], cut.shape[0]) - max(box[1], 0))
        assert inside >= 0.65 * 30 * 36


def test_categories_from_labels_follow_the_measured_ones(labels: Path) -> None:
    """skin_tone from the labels is the second category; a label that is not there is not known."""
    records = load_records(labels, (), ("skin_tone", "absent"))
    bank = make_bank(records, 1, 0, crop_size=32, measure=lambda *_: (2,))
    assert bank.categories.tolist() == [[2, i, -1] for i in range(4)]


def test_a_training_from_a_model_begins_where_that_model_is(labels: Path, tmp_path: Path) -> None:
    """With one category more, and learning nothing, the new model draws what the old one draws."""
    from understudy.diffusion.networks import load_styles
    from understudy.diffusion.torch_networks import TorchNetworks

    still = Schedule(1, batch_size=4, learning_rate=0.0)
    common = {
        "measure": lambda *_: (2,), "categories": ("skin_tone",), "decoder": still, "denoiser": still, "n_crops": 2,
        "crop_size": 32, "latent_channels": 4, "decoder_channels": (8, 8), "n_norm_groups": 4, "margin_cells": 0,
    }  # fmt: skip
    train_model(labels, tmp_path / "w", tmp_path / "old", settings=TINY, **common)  # type: ignore[arg-type]
    train_model(
        labels, tmp_path / "w2", tmp_path / "new", settings=replace(TINY, n_categories=(6, 3)),
        labelled_categories=("age_group",), start=tmp_path / "old", **common,  # type: ignore[arg-type]
    )  # fmt: skip
    old, new = TorchNetworks(tmp_path / "old"), TorchNetworks(tmp_path / "new")
    random = np.random.default_rng(0)
    x, context = (random.normal(size=(1, 4, 4, 4)).astype(np.float32) for _ in range(2))
    planes = random.normal(size=(1, 1 + 5 + 6 + 3, 4, 4)).astype(np.float32)
    style = load_styles(tmp_path / "old").draw(0)[None]
    np.testing.assert_allclose(
        new.denoise(x, context, planes, style, 0.5), old.denoise(x, context, planes[:, :-3], style, 0.5), atol=2e-3
    )
    np.testing.assert_array_equal(new.encode(np.zeros((1, 3, 32, 32), np.float32)),
                                  old.encode(np.zeros((1, 3, 32, 32), np.float32)))  # fmt: skip
    with pytest.raises(InvalidInputError, match="must be the first"):
        train_model(
            labels, tmp_path / "w3", tmp_path / "other", settings=TINY, start=tmp_path / "old",
            **{**common, "categories": ("head_pose",)},  # type: ignore[arg-type]
        )  # fmt: skip


def test_a_sharpened_decoder_changes_and_its_encoder_does_not(bank: CropBank, tmp_path: Path) -> None:
    """A few steps against a critic: the decoder moves, colours of cells stay near, and a second run repeats it."""
    made = []
    for run in range(2):
        model = fit_encoder(bank, seed=0, latent_channels=4, channels=(8, 8), n_norm_groups=4)
        before = copy.deepcopy(model)
        rows = np.arange(len(bank.pixels))
        sampled = model.encode(pixels_from_uint8(torch.from_numpy(bank.pixels)))
        settings = SharpenSettings(critic_channels=(4, 4, 4))
        schedule = Schedule(4, batch_size=4, learning_rate=1e-2, n_warmup_steps=1)
        sharpen_decoder(model, bank, sampled, rows, tmp_path / str(run), schedule, settings, seed=0)
        assert torch.equal(model.encoder.weight, before.encoder.weight)
        made.append(model.decode(sampled).detach())
        assert (made[-1] - before.decode(sampled)).abs().max() > 1e-3
    assert torch.equal(made[0], made[1])


def test_a_frozen_critic_scores_the_same_and_learns_nothing() -> None:
    """The decoder's loss gives no gradient to the critic, and the same scores as the critic itself."""
    torch.manual_seed(0)
    contest = Contest(torch.nn.Identity(), Critic((4, 4, 4))).eval()
    pixels, mask = torch.randn(2, 3, 32, 32, requires_grad=True), torch.ones(2, 1, 32, 32)
    scores = contest.frozen_scores(pixels, mask)
    torch.testing.assert_close(scores, contest.critic(pixels, mask))
    scores.sum().backward()
    assert all(p.grad is None for p in contest.critic.parameters())
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
