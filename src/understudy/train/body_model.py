"""Train the denoiser of whole people, beginning with that of faces, and write its model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder, pixels_from_uint8
from understudy.diffusion.body_model import N_KEYPOINTS, BodyConfig, body_planes, save_bodies, save_body_config
from understudy.diffusion.conditioning import mask_plane
from understudy.diffusion.denoiser import make_unet
from understudy.diffusion.networks import load_styles
from understudy.diffusion.torch_networks import AUTOENCODER, DENOISER, load_torch_parts
from understudy.errors import InvalidInputError
from understudy.train.body_bank import BodyRecord, body_bank
from understudy.train.body_data import BodyCrops, body_crops
from understudy.train.denoiser import shifted_times
from understudy.train.loop import Losses, Schedule, fit
from understudy.train.losses import flow_matching_loss

UNMASKED_WEIGHT = 0.03
LEAST_TIME = 0.7
CHANNEL_POWER = 0.75


@torch.no_grad()
def start_from_faces(folder: Path, config: BodyConfig) -> tuple[PatchAutoencoder, UNet2DModel]:
    """The autoencoder of a model of faces, and its denoiser with planes for whole people.

    What the faces' planes said of keypoints and categories is left out; planes of whole people begin with weights of 0.
    The one style that the model has becomes part of the time's embedding.
    """
    autoencoder, source = load_torch_parts(folder)
    given = source.config
    unet = make_unet(
        config.latent_channels,
        config.n_planes,
        tuple(int(n) for n in given["block_out_channels"]),
        size=config.size[0],
        n_layers=int(given["layers_per_block"]),
        n_norm_groups=int(given["norm_num_groups"]),
        head_channels=int(given["attention_head_dim"]),
    )
    theirs = source.state_dict()
    known = 2 * config.latent_channels + 1  # noisy, context, mask
    first: Tensor = torch.zeros_like(unet.conv_in.weight)
    first[:, :known] = theirs["conv_in.weight"][:, :known]
    bias = theirs["time_embedding.linear_2.bias"] + torch.from_numpy(load_styles(folder).vectors[0])
    unet.load_state_dict({**theirs, "conv_in.weight": first, "time_embedding.linear_2.bias": bias})
    return autoencoder, unet


class BodyDenoiser(nn.Module):
    """A UNet with no style."""

    def __init__(self, unet: UNet2DModel, style_channels: int) -> None:
        super().__init__()
        self.unet = unet
        self.style_channels = style_channels

    def forward(self, noisy: Tensor, context: Tensor, planes: Tensor, time: Tensor) -> Tensor:
        """What has to be added to the context's latents, (B, C, h, w)."""
        nothing = noisy.new_zeros((len(noisy), self.style_channels))
        added: Tensor = self.unet(torch.cat([noisy, context, planes], dim=1), time * 1000, class_labels=nothing).sample
        return added


@torch.no_grad()
def _latents(autoencoder: PatchAutoencoder, pictures: Tensor, batch_size: int = 32) -> Tensor:
    parts = [
        autoencoder.encode(pixels_from_uint8(pictures[i : i + batch_size])).half()
        for i in range(0, len(pictures), batch_size)
    ]
    return torch.cat(parts)


def body_losses(autoencoder: PatchAutoencoder, crops: BodyCrops, config: BodyConfig) -> Losses:
    """The flow matching loss of a denoiser on a batch of crops."""
    target = _latents(autoencoder, torch.from_numpy(crops.pixels))
    context = _latents(autoencoder, torch.from_numpy(crops.context))
    planes = torch.from_numpy(body_planes(crops.mask, crops.cover, crops.keypoints, crops.visibility)).half()
    share = torch.from_numpy(mask_plane(crops.mask, CELL_PX))
    weight = share + UNMASKED_WEIGHT * (1 - share)
    deviation: Tensor = autoencoder.linear_decoder.weight.detach().flatten(1).norm(dim=1) ** CHANNEL_POWER
    importance = (deviation / deviation.square().mean().sqrt())[:, None, None]

    def losses(network: nn.Module, n: int, random: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(target), (n,), generator=random)
        clean, known = target[rows].float(), context[rows].float()
        time = shifted_times(n, config.shift, random)
        noise = torch.randn(clean.shape, generator=random)
        noisy = torch.lerp(clean, noise, time[:, None, None, None])
        made = network(noisy, known, planes[rows].float(), time) + known
        by_time = weight[rows] / time.clamp_min(LEAST_TIME).square()[:, None, None, None]
        laid = flow_matching_loss(known * importance, clean * importance, by_time)
        loss = flow_matching_loss(made * importance, clean * importance, by_time)
        return {"loss": loss, "of_what_was_laid": (loss / laid).detach()}

    return losses


def train_body(
    records: Sequence[BodyRecord],
    references: Sequence[BodyRecord],
    start: Path,
    work: Path,
    output: Path,
    schedule: Schedule,
    *,
    config: BodyConfig | None = None,
    n_crops: int = 1500,
    seed: int = 0,
    save_every: int = 50,
) -> BodyConfig:
    """Train on renders of whole people and write a model folder (without ONNX); goes on where it was stopped.

    Parameters
    ----------
    records : sequence of BodyRecord
        What is learnt from.
    references : sequence of BodyRecord
        What the model carries.
    start : Path
        The model of faces with whose weights it begins; its autoencoder stays as it is.
    work : Path
        Checkpoint and loss curve.
    output : Path
    schedule : Schedule
        With ``n_steps`` 0 the weights are written as they begin.
    """
    if not references:
        raise InvalidInputError("a model of whole people needs references, got none")
    config = config or BodyConfig()
    torch.manual_seed(seed)
    autoencoder, unet = start_from_faces(start, config)
    network = BodyDenoiser(unet, config.style_channels)
    if schedule.n_steps:
        losses = body_losses(autoencoder, body_crops(records, n_crops, seed), config)
        average = fit(
            network, losses, schedule, work, seed=seed, save_every=save_every, log_every=10,
            settings={"seed": seed, "n_crops": n_crops, "batch_size": schedule.batch_size, "keypoints": N_KEYPOINTS},
        )  # fmt: skip
        average.copy_to(network)
    save_body_config(output, config)
    save_bodies(output, body_bank(references))
    for name, part in ((AUTOENCODER, autoencoder), (DENOISER, network.unet)):
        part.half().save_pretrained(output / name, safe_serialization=True)
        part.float()
    return config
