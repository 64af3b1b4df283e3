"""The blocks of diffusers' UNet2DModel and Decoder as ONNX operators: the same arithmetic, far fewer operators.

torch's exporter leaves about 600 operators in a denoiser step, most of them to find out shapes. Here shapes are
constant, query, key and value are one convolution, and what time and style say to every block is one product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.export.graph import Graph

Size = int | tuple[int, int]
"""Cells of a square picture's side, or height and width."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width, cells."""
    return (size, size) if isinstance(size, int) else size


def resized(size: Size, ratio: float) -> Size:
    """A size times a ratio."""
    return int(size * ratio) if isinstance(size, int) else (int(size[0] * ratio), int(size[1] * ratio))


def values_of(tensor: Tensor) -> NDArray[np.float32]:
    """A weight as a numpy array."""
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)


def convolve(graph: Graph, layer: nn.Conv2d, x: str, *, edge: bool = False) -> str:
    """A convolution; ``edge`` where it is a network's first or last."""
    stride, padding = layer.stride[0], int(layer.padding[0])
    return convolve_with(graph, x, values_of(layer.weight), _bias(layer), stride, padding, edge=edge)


def convolve_with(
    graph: Graph,
    x: str,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    stride: int = 1,
    padding: int = 0,
    *,
    edge: bool = False,
) -> str:
    """A convolution with given weights (O, I, k, k)."""
    inputs = [x, graph.constant(weight)] + ([] if bias is None else [graph.constant(bias)])
    size = list(weight.shape[2:])
    return graph.node("Conv", *inputs, edge=edge, kernel_shape=size, strides=[stride] * 2, pads=[padding] * 4)


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> NDArray[np.float32] | None:
    return None if layer.bias is None else values_of(layer.bias)


def silu(graph: Graph, x: str) -> str:
    """Swish: x sigmoid(x)."""
    return graph.node("Mul", x, graph.node("Sigmoid", x))


def group_norm(graph: Graph, layer: nn.GroupNorm, x: str, size: Size, gain: str = "", offset: str = "") -> str:
    """Group normalisation of (B, C, size, size); gain and offset, (B, C, 1, 1), in place of the layer's own."""
    n, groups = layer.num_channels, layer.num_groups
    height, width = sides(size)
    flat = graph.reshape(x, -1, groups, n // groups * height * width)
    ones, zeros = (graph.constant(np.full(groups, value, np.float32)) for value in (1, 0))
    normal = graph.node("InstanceNormalization", flat, ones, zeros, epsilon=float(layer.eps))
    normal = graph.reshape(normal, -1, n, height, width)
    gain = gain or graph.constant(values_of(layer.weight).reshape(1, n, 1, 1))
    offset = offset or graph.constant(values_of(layer.bias).reshape(1, n, 1, 1))
    return graph.node("Add", graph.node("Mul", normal, gain), offset)


def residual_block(graph: Graph, block: Any, x: str, size: Size, gain: str = "", offset: str = "") -> str:
    """What ResnetBlock2D of diffusers does; what time and style say is in gain and offset."""
    h = convolve(graph, block.conv1, silu(graph, group_norm(graph, block.norm1, x, size)))
    h = convolve(graph, block.conv2, silu(graph, group_norm(graph, block.norm2, h, size, gain, offset)))
    return graph.node("Add", x if block.conv_shortcut is None else convolve(graph, block.conv_shortcut, x), h)


def attention(graph: Graph, block: Any, x: str, size: Size) -> str:
    """Self-attention of diffusers over the cells, channels first throughout."""
    channels, heads = int(block.to_q.in_features), int(block.heads)
    width = channels // heads
    rows, columns = sides(size)
    h = x if block.group_norm is None else group_norm(graph, block.group_norm, x, size)
    parts = (block.to_q, block.to_k, block.to_v)
    weight = np.concatenate([values_of(part.weight) for part in parts])[..., None, None]
    bias = np.concatenate([values_of(part.bias) for part in parts])
    joint = graph.reshape(convolve_with(graph, h, weight, bias), -1, 3 * heads, width, rows * columns)
    query, key, value = graph.split(joint, [heads] * 3)  # each (B, heads, width, cells)
    query = graph.node("Mul", query, graph.constant(np.array(width**-0.5, np.float32)))
    turned = graph.node("Transpose", query, perm=[0, 1, 3, 2])
    share = graph.node("Softmax", graph.node("MatMul", turned, key), axis=-1)  # (B, heads, cells, cells)
    mixed = graph.node("MatMul", share, graph.node("Transpose", value, perm=[0, 1, 3, 2]))
    mixed = graph.reshape(graph.node("Transpose", mixed, perm=[0, 1, 3, 2]), -1, channels, rows, columns)
    out = block.to_out[0]
    projected = convolve_with(graph, mixed, values_of(out.weight)[..., None, None], values_of(out.bias))
    return graph.node("Add", projected, x)


def double(graph: Graph, x: str) -> str:
    """Twice the size, every cell repeated."""
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.node(
        "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )


def upsample(graph: Graph, layers: Any, x: str, size: Size) -> tuple[str, Size]:
    """What Upsample2D of diffusers does, with convolution, where there is one."""
    for layer in layers or ():
        x, size = convolve(graph, layer.conv, double(graph, x)), resized(size, 2)
    return x, size


def decode(graph: Graph, autoencoder: Any, latents: str, size: Size) -> str:
    """``PatchAutoencoder.decode``: pictures (B, 3, 8 size, 8 size) of latents (B, C, size, size)."""
    decoder, linear = autoencoder.decoder, autoencoder.linear_decoder
    x = convolve(graph, decoder.conv_in, latents, edge=True)
    for block in decoder.mid_block.resnets:
        x = residual_block(graph, block, x, size)
    width = size
    for level in decoder.up_blocks:
        for block in level.resnets:
            x = residual_block(graph, block, x, width)
        x, width = upsample(graph, level.upsamplers, x, width)
    x = silu(graph, group_norm(graph, decoder.conv_norm_out, x, width))
    x = convolve(graph, decoder.conv_out, x, edge=True)
    detail = graph.node("DepthToSpace", x, blocksize=int(autoencoder.patch), mode="CRD")
    weight, bias = graph.constant(values_of(linear.weight)), graph.constant(values_of(linear.bias))
    kernel = list(linear.kernel_size)
    smooth = graph.node("ConvTranspose", latents, weight, bias, kernel_shape=kernel, strides=kernel)
    return graph.node("Add", smooth, detail)


def residual_blocks(unet: Any) -> list[Any]:
    """Every residual block of a UNet, in the order in which they run."""
    return [block for level in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) for block in level.resnets]


def embedding_size(unet: Any) -> int:
    """Channels of the style vector."""
    return int(unet.time_embedding.linear_2.out_features)


@torch.no_grad()
def time_features(unet: Any, times: Sequence[float]) -> NDArray[np.float32]:
    """What the UNet makes of times in [0, 1] before the style is added, (N, D)."""
    steps = torch.tensor(list(times), dtype=torch.float32) * 1000
    return values_of(unet.time_embedding(unet.time_proj(steps)))


def embed_time(graph: Graph, unet: Any, time: str) -> str:
    """``time_features`` as operators, (B, D) of (B,)."""
    half = int(unet.time_proj.num_channels) // 2
    exponent = -np.log(10000.0) * np.arange(half) / (half - unet.time_proj.downscale_freq_shift)
    steps = graph.node("Mul", graph.reshape(time, -1, 1), graph.constant(np.array(1000, np.float32)))
    angles = graph.node("Mul", steps, graph.constant(np.exp(exponent).astype(np.float32)[None]))
    waves = [graph.node("Cos", angles), graph.node("Sin", angles)]
    waves = waves if unet.time_proj.flip_sin_to_cos else waves[::-1]
    first, second = unet.time_embedding.linear_1, unet.time_embedding.linear_2
    return _linear(graph, second, silu(graph, _linear(graph, first, graph.node("Concat", *waves, axis=1))))


def _linear(graph: Graph, layer: nn.Linear, x: str) -> str:
    weight, bias = graph.constant(values_of(layer.weight)), graph.constant(values_of(layer.bias))
    return graph.node("Gemm", x, weight, bias, transB=1)


def modulation(graph: Graph, unet: Any, embedded: str) -> list[tuple[str, str]]:
    """Gain and offset of the second norm of every residual block, (N, C, 1, 1) each, of time and style (N, D).

    The block normalises, multiplies by its norm's weight w, adds its bias b, then multiplies by 1 + s and adds t, where
    s and t are linear in the embedding: a gain of w (1 + s) and an offset of b (1 + s) + t.
    """
    blocks = residual_blocks(unet)
    sizes = [block.norm2.num_channels for block in blocks]
    weights = [values_of(block.time_emb_proj.weight) for block in blocks]
    biases = [values_of(block.time_emb_proj.bias) for block in blocks]
    weight = np.concatenate([w[:n] for w, n in zip(weights, sizes, strict=True)] + [
        w[n:] for w, n in zip(weights, sizes, strict=True)
    ])  # fmt: skip
    bias = np.concatenate([b[:n] + 1 for b, n in zip(biases, sizes, strict=True)] + [
        b[n:] for b, n in zip(biases, sizes, strict=True)
    ])  # fmt: skip
    product = graph.node("Gemm", silu(graph, embedded), graph.constant(weight), graph.constant(bias), transB=1)
    scale, shift = graph.split(product, [sum(sizes)] * 2)
    own_gain = graph.constant(np.concatenate([values_of(block.norm2.weight) for block in blocks])[None])
    own_offset = graph.constant(np.concatenate([values_of(block.norm2.bias) for block in blocks])[None])
    gains = graph.node("Mul", scale, own_gain)
    offsets = graph.node("Add", graph.node("Mul", scale, own_offset), shift)
    columns = [graph.split(graph.reshape(x, -1, sum(sizes), 1, 1), sizes) for x in (gains, offsets)]
    return list(zip(*columns, strict=True))


def denoise(graph: Graph, unet: Any, first: str, size: Size, modulations: Sequence[tuple[str, str]]) -> str:
    """The UNet from behind its first convolution to the clean latents."""
    told = iter(modulations)
    x, skips = first, [first]
    for level in unet.down_blocks:
        for block, attend in _with_attention(level):
            x = residual_block(graph, block, x, size, *next(told))
            x = x if attend is None else attention(graph, attend, x, size)
            skips.append(x)
        for layer in level.downsamplers or ():
            x, size = convolve(graph, layer.conv, x), resized(size, 0.5)
            skips.append(x)
    middle = unet.mid_block
    x = residual_block(graph, middle.resnets[0], x, size, *next(told))
    for block, attend in zip(middle.resnets[1:], middle.attentions, strict=True):
        x = x if attend is None else attention(graph, attend, x, size)
        x = residual_block(graph, block, x, size, *next(told))
    for level in unet.up_blocks:
        for block, attend in _with_attention(level):
            x = residual_block(graph, block, graph.node("Concat", x, skips.pop(), axis=1), size, *next(told))
            x = x if attend is None else attention(graph, attend, x, size)
        x, size = upsample(graph, level.upsamplers, x, size)
    x = silu(graph, group_norm(graph, unet.conv_norm_out, x, size))
    return convolve(graph, unet.conv_out, x, edge=True)


def _with_attention(level: Any) -> Iterator[tuple[Any, Any]]:
    """Residual blocks of a level, each with its attention or None."""
    attentions = getattr(level, "attentions", None) or [None] * len(level.resnets)
    return zip(level.resnets, attentions, strict=True)
