"""Inpainting pipelines of a few thousand random weights, saved in diffusers' format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz,'-"
VOCABULARY = ("<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{c}</w>" for c in LETTERS))


def tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def autoencoder(latent_channels: int = 4, **changes) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=32,
        **changes,
    )


def safety_checker(rejects: bool) -> StableDiffusionSafetyChecker:
    """A checker that rejects everything, or nothing, whatever it sees."""
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "projection_dim": 8,
    }
    text = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 8,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    threshold = -2.0 if rejects else 2.0  # of a cosine
    checker.concept_embeds_weights.fill_(threshold)
    checker.special_care_embeds_weights.fill_(threshold)
    return checker


def make_tiny_inpaint(folder: Path, *, rejects: bool | None = None, in_channels: int = 9) -> Path:
    """Save a Stable Diffusion inpainting pipeline under ``folder``; ``rejects`` None leaves out the safety checker."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=16,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    pipe = StableDiffusionInpaintPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder / "words"),
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None if rejects is None else safety_checker(rejects),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        requires_safety_checker=rejects is not None,
    )
    pipe.save_pretrained(str(folder / "model"))
    return folder / "model"


def make_tiny_inpaint_xl(folder: Path) -> Path:
    """Save a Stable Diffusion XL inpainting pipeline under ``folder``."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=16,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=2,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 + 6 * 8,
    )
    words = tokenizer(folder / "words")
    pipe = StableDiffusionXLInpaintPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    )
    pipe.save_pretrained(str(folder / "model"))
    return folder / "model"


def make_tiny_flux_fill(folder: Path) -> Path:
    """Save a FLUX Fill pipeline under ``folder``: a transformer of one block of each kind, CLIP and T5."""
    torch.manual_seed(0)
    latent, scale = 4, 2  # channels of a latent; the autoencoder's side over the latent's
    transformer = FluxTransformer2DModel(
        in_channels=2 * 4 * latent + 4 * scale**2,  # noise, masked picture, mask: in patches of 2 by 2
        out_channels=4 * latent,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    t5 = T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, is_encoder_decoder=False, use_cache=False
    )
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -1.0), *((c, -2.0) for c in LETTERS)]
    pipe = FluxFillPipeline(
        vae=autoencoder(latent, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=0.4),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder / "words"),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=16),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipe.save_pretrained(str(folder / "model"))
    return folder / "model"


def make_tiny_controlnet(folder: Path, *, xl: bool = False) -> Path:
    """Save a ControlNet that fits ``make_tiny_inpaint`` or, with ``xl``, ``make_tiny_inpaint_xl``.

    Its last layers, which start at zero in training, are random here: with them at zero it would change nothing.
    """
    torch.manual_seed(1)
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 + 6 * 8,
    }
    net = ControlNetModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        in_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=16 if xl else 8,
        attention_head_dim=2,
        norm_num_groups=2,
        conditioning_embedding_out_channels=(4, 8),
        **(more if xl else {}),
    )
    for weight in net.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    net.save_pretrained(str(folder / "controlnet"))
    return folder / "controlnet"


def make_tiny_lora(folder: Path, model: Path) -> Path:
    """Save a LoRA of rank 2 for the attention of a tiny pipeline's denoiser, under the names that diffusers writes."""
    import diffusers
    from safetensors.torch import save_file

    part = "transformer" if (model / "transformer").is_dir() else "unet"
    kind = diffusers.FluxTransformer2DModel if part == "transformer" else UNet2DConditionModel
    denoiser = kind.from_pretrained(str(model / part))
    random = torch.Generator().manual_seed(2)
    weights = {}
    for name, layer in denoiser.named_modules():
        if name.endswith(("to_q", "to_v")):
            rows, columns = layer.weight.shape
            weights[f"{part}.{name}.lora_A.weight"] = torch.randn(2, columns, generator=random)
            weights[f"{part}.{name}.lora_B.weight"] = torch.randn(rows, 2, generator=random)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "pytorch_lora_weights.safetensors")
    return folder
