"""Load pipelines of diffusers from folders: the class, a ControlNet, a LoRA, a scheduler, and how memory is saved."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from understudy.errors import ConfigError, InvalidInputError, MissingExtraError, MissingWeightsError
from understudy.hub.checkpoint import find_checkpoint
from understudy.hub.registry import is_hub_name, vanished

Offload = Literal["none", "model", "sequential"]
OFFLOADS: tuple[Offload, ...] = ("none", "model", "sequential")


@dataclass(frozen=True)
class Memory:
    """How memory is saved, each at some cost of time."""

    offload: Offload = "none"
    """model: one network on the GPU at a time; sequential: one layer at a time. Needs a GPU and accelerate."""
    slicing: bool = False
    """Attention in slices, and one picture of a batch through the autoencoder at a time."""
    tiling: bool = False
    """The autoencoder works in tiles; they can show."""
    compile: bool = False
    """torch.compile of the denoiser: minutes at first, then faster. Results differ in the last bits."""

    def __post_init__(self) -> None:
        if self.offload not in OFFLOADS:
            raise InvalidInputError(f"memory.offload must be one of {', '.join(OFFLOADS)}, got {self.offload!r}")


@dataclass(frozen=True)
class Recipe:
    """What a pipeline is made of."""

    folder: Path
    shown: str
    """What the user called it, for messages."""
    pipeline: str | None = None
    """Class of diffusers; None: the inpainting class of the checkpoint's family."""
    controlnet: Path | None = None
    lora: Path | None = None
    """A folder with one safetensors file, or that file."""
    scheduler: str | None = None
    """Class of diffusers; None: the checkpoint's own."""
    variant: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    memory: Memory = Memory()


def require_extra(*further: str) -> None:
    """Raise MissingExtraError where a package that hub generators need is not installed."""
    missing = [name for name in ("torch", "diffusers", "transformers") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"generators of the hub need {', '.join(missing)}: run `pip install 'understudy[torch]'`"
        )
    for name in further:
        if find_spec(name) is None:
            raise MissingExtraError(f"this generator needs {name}: run `pip install 'understudy[hub]'`")


def part_folder(given: str, setting: str) -> Path:
    """Folder (or file) of a ControlNet or LoRA: a path, or a name of the registry.

    Raises
    ------
    MissingWeightsError
        Neither.
    """
    path = Path(given).expanduser()
    if path.exists():
        return path
    if is_hub_name(given):
        return find_checkpoint(given)
    raise MissingWeightsError(
        f"generator.{setting}={given!r} is neither a folder nor a checkpoint of the registry (`understudy models list`)"
    )


def model_folder(model: str, *, revision: str | None, variant: str | None, local_files_only: bool) -> Path:
    """The folder that holds a pipeline; a hub id is fetched into the hub's cache first.

    Raises
    ------
    MissingWeightsError
        The folder is no pipeline, or the hub does not give it; for an id that is gone, with what to use in its place.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise MissingWeightsError(
                f"{folder} holds no model_index.json: generator.model must be a folder in diffusers' format or a hub id"
            )
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise MissingWeightsError(f"there is no folder {folder}: set generator.model to an existing one or to a hub id")
    from diffusers import DiffusionPipeline

    try:
        found = DiffusionPipeline.download(
            model, revision=revision, variant=variant, use_safetensors=True, local_files_only=local_files_only
        )
    except Exception as error:  # whatever the hub's client raises, by names of its transport's own
        gone = vanished(model)
        if gone:
            raise MissingWeightsError(f"{gone} (generator.model=...; {first_line(error)})") from error
        raise MissingWeightsError(
            f"the inpainting checkpoint '{model}' is neither a local folder nor to be had from the hub "
            f"({first_line(error)}): go online once, or download it elsewhere and set generator.model to its folder"
        ) from error
    return Path(found)


def load_pipeline(recipe: Recipe) -> Any:
    """The pipeline, on its device.

    Raises
    ------
    MissingExtraError
        A LoRA without peft, or offloading without accelerate.
    MissingWeightsError
        Weights are lacking, or pickled.
    ConfigError
        The checkpoint does not fit the class, the ControlNet or the LoRA; or offloading without a GPU.
    """
    require_extra(*(["peft"] if recipe.lora else []), *(["accelerate"] if recipe.memory.offload != "none" else []))
    import diffusers
    import torch
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()  # else a line for each picture about how parts are cast
    device = ("cuda" if torch.cuda.is_available() else "cpu") if recipe.device == "auto" else recipe.device
    if recipe.memory.offload != "none" and not device.startswith("cuda"):
        raise ConfigError(f"generator.memory.offload={recipe.memory.offload} needs a GPU, and the device is {device}")
    precision = ("float16" if device.startswith("cuda") else "float32") if recipe.dtype == "auto" else recipe.dtype
    shared = {"torch_dtype": getattr(torch, precision), "use_safetensors": True, "local_files_only": True}
    parts = {} if recipe.controlnet is None else {"controlnet": _load_controlnet(recipe.controlnet, shared)}
    kind = diffusers.AutoPipelineForInpainting if recipe.pipeline is None else _class_of(recipe.pipeline, "Pipeline")
    try:
        pipe = kind.from_pretrained(str(recipe.folder), variant=recipe.variant, **shared, **parts)
    except OSError as error:
        raise MissingWeightsError(
            f"'{recipe.shown}' lacks weights that are needed ({first_line(error)}); only safetensors are read, "
            "pickled weights are refused"
        ) from error
    except (ValueError, TypeError, RuntimeError) as error:  # parts missing, or of other shapes
        raise ConfigError(f"no inpainting pipeline can be made of '{recipe.shown}': {first_line(error)}") from error
    if recipe.scheduler is not None:
        pipe.scheduler = _class_of(recipe.scheduler, "Scheduler").from_config(pipe.scheduler.config)
    if recipe.lora is not None:
        _fuse(pipe, recipe.lora)
    pipe.set_progress_bar_config(disable=True)
    return _placed(pipe, device, recipe.memory)


def _load_controlnet(folder: Path, shared: dict[str, Any]) -> Any:
    import diffusers

    variants = {path.name.split(".")[1] for path in folder.glob("diffusion_pytorch_model.*.safetensors")}
    plain = (folder / "diffusion_pytorch_model.safetensors").is_file()
    variant = None if plain or not variants else min(variants)
    try:
        return diffusers.ControlNetModel.from_pretrained(str(folder), variant=variant, **shared)
    except (OSError, ValueError, TypeError) as error:
        raise MissingWeightsError(f"{folder} holds no ControlNet that can be read: {first_line(error)}") from error


def _class_of(name: str, ending: str) -> Any:
    """A class of diffusers by its name."""
    import diffusers

    found = getattr(diffusers, name, None) if name.endswith(ending) else None
    if found is None:
        raise ConfigError(f"diffusers {diffusers.__version__} has no {ending.lower()} class called {name!r}")
    return found


def _fuse(pipe: Any, path: Path) -> None:
    """Add a LoRA to the weights for good."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise MissingWeightsError(f"{path} must hold one safetensors file, it holds {len(files)}")
    try:
        pipe.load_lora_weights(str(files[0].parent), weight_name=files[0].name, local_files_only=True)
        pipe.fuse_lora()
        pipe.unload_lora_weights()
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise ConfigError(f"the LoRA {files[0]} does not fit the checkpoint: {first_line(error)}") from error


def _placed(pipe: Any, device: str, memory: Memory) -> Any:
    """The pipeline on its device, with what saves memory switched on."""
    import torch

    if memory.slicing:
        pipe.enable_attention_slicing()
        pipe.vae.enable_slicing()
    if memory.tiling:
        pipe.vae.enable_tiling()
    if memory.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif memory.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe = pipe.to(device)
    if memory.compile:
        name = "transformer" if hasattr(pipe, "transformer") else "unet"
        setattr(pipe, name, torch.compile(getattr(pipe, name)))
    return pipe


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
