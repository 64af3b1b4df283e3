"""Blender's Cycles as the renderer: one scene for one person, light groups denoised apart. ``bpy`` stays in here."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.people.camera import Camera
from understudy.people.fields import Floats
from understudy.people.light import GROUPS, Group, Mix, Rig
from understudy.people.materials import make_material
from understudy.people.parts import Mesh, Model, Tufts

LAMP_DISTANCE_M = 2.2
MAX_DEPTH_M = 50.0
NO_LIGHT = (0.0, 0.0, 0.0)
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Passes:
    """What one view renders to."""

    groups: dict[Group, Floats32]  # (H, W, 3) linear, premultiplied
    alpha: Floats32  # (H, W)
    region: Floats32  # (H, W, 3) face, hair, skin
    worn: Floats32  # (H, W)
    depth: Floats32  # (H, W) m, inf where nothing is
    mixed: Floats32 | None = None  # (H, W, 3) linear, premultiplied: all light together, in a studio that renders it so


def _settings(scene: Any, width_px: int, height_px: int, samples: int) -> None:
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = True
    cycles.adaptive_threshold = 0.03
    cycles.use_denoising = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 5, 2, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 3, 6
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4
    render = scene.render
    render.threads_mode, render.threads = "FIXED", 1
    render.resolution_x, render.resolution_y = width_px, height_px
    render.film_transparent = True
    render.use_persistent_data = True
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 1


class Studio:
    """A scene that holds one head, or one whole person, and renders views of it.

    Parameters
    ----------
    size_px : int
        Height of the pictures; ``width_px`` is as large where it is left out.
    lamp_distance_m : float
        Of the lamps from what they shine at; far enough that a whole person is lit evenly.
    apart : bool
        Whether light groups are rendered and denoised apart. Together they cost a third, and give one mix a view.
    masks : bool, optional
        Whether the regions of the face are rendered too; as ``apart`` where left out.
    """

    def __init__(
        self,
        model: Model,
        size_px: int,
        samples: int,
        *,
        width_px: int | None = None,
        lamp_distance_m: float = LAMP_DISTANCE_M,
        apart: bool = True,
        masks: bool | None = None,
    ) -> None:
        import bpy

        warnings.filterwarnings("ignore", category=DeprecationWarning)
        self._bpy = bpy
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        self._shape = (size_px, width_px or size_px)
        self._lamp_distance_m = lamp_distance_m
        self._apart = apart
        self._masks = apart if masks is None else masks
        self._quick = self._masks and not apart
        self._shown_sky: Floats | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="understudy-people-"))
        _settings(self._scene, self._shape[1], size_px, samples)
        if not apart:
            cycles = self._scene.cycles
            cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 1, 1
        for mesh in model.meshes:
            self._add_mesh(mesh)
        for tufts in model.tufts:
            self._add_tufts(tufts)
        self._eyes = [(self._add_mesh(eye.mesh), eye.center) for eye in model.eyes]
        self._camera = self._add_object("camera", bpy.data.cameras.new("camera"))
        self._scene.camera = self._camera
        self._add_passes()
        self._add_lights()

    def close(self) -> None:
        """Remove the temporary files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _add_object(self, name: str, data: Any) -> Any:
        made = self._bpy.data.objects.new(name, data)
        self._scene.collection.objects.link(made)
        return made

    def _add_mesh(self, mesh: Mesh) -> Any:
        data = self._bpy.data.meshes.new(mesh.name)
        data.vertices.add(len(mesh.vertices))
        data.vertices.foreach_set("co", np.ascontiguousarray(mesh.vertices, np.float32).ravel())
        n, corners = mesh.faces.shape
        data.loops.add(n * corners)
        data.loops.foreach_set("vertex_index", mesh.faces.astype(np.int32).ravel())
        data.polygons.add(n)
        data.polygons.foreach_set("loop_start", np.arange(0, n * corners, corners, dtype=np.int32))
        data.update()
        data.polygons.foreach_set("use_smooth", np.full(n, mesh.smooth))
        for name, color in (("albedo", mesh.colors), ("region", mesh.region)):
            if color is not None:
                rgba = np.c_[color, np.ones(len(color))].astype(np.float32)
                data.attributes.new(name, "FLOAT_COLOR", "POINT").data.foreach_set("color", rgba.ravel())
        for name, value in mesh.values.items():
            data.attributes.new(name, "FLOAT", "POINT").data.foreach_set("value", value.astype(np.float32))
        data.update()
        data.materials.append(make_material(mesh.name, mesh.material, quick=self._quick))
        return self._add_object(mesh.name, data)

    def _add_tufts(self, tufts: Tufts) -> None:
        if not tufts.strands:
            return
        data = self._bpy.data.hair_curves.new(tufts.name)
        sizes = [np.full(len(s.points), s.points.shape[1], np.int32) for s in tufts.strands]
        data.add_curves(np.concatenate(sizes).tolist())
        points = np.concatenate([s.points.reshape(-1, 3) for s in tufts.strands]).astype(np.float32)
        radius = np.concatenate([s.radius.ravel() for s in tufts.strands]).astype(np.float32)
        data.attributes["position"].data.foreach_set("vector", points.ravel())
        attribute = data.attributes.get("radius") or data.attributes.new("radius", "FLOAT", "POINT")
        attribute.data.foreach_set("value", radius)
        data.materials.append(make_material(tufts.name, tufts.material))
        self._add_object(tufts.name, data)

    def _add_lights(self) -> None:
        data = self._bpy.data
        world = data.worlds.new("world")
        self._scene.world = world
        world.lightgroup = "ambient"
        world.use_nodes = True
        nodes, links = world.node_tree.nodes, world.node_tree.links
        background = next(n for n in nodes if n.bl_idname == "ShaderNodeBackground")
        self._sky = nodes.new("ShaderNodeTexEnvironment")
        self._turn = nodes.new("ShaderNodeMapping")
        place = nodes.new("ShaderNodeTexCoord")
        links.new(place.outputs["Generated"], self._turn.inputs["Vector"])
        links.new(self._turn.outputs[0], self._sky.inputs[0])
        links.new(self._sky.outputs[0], background.inputs[0])
        self._lamps: dict[Group, Any] = {}
        lamps: tuple[Group, ...] = ("sun", "key", "fill")
        for group in lamps:
            lamp = data.lights.new(group, "SUN" if group == "sun" else "AREA")
            self._lamps[group] = self._add_object(group, lamp)
            self._lamps[group].lightgroup = group

    def _add_passes(self) -> None:
        layer = self._scene.view_layers[0]
        layer.use_pass_z = True
        layer.cycles.denoising_store_passes = True
        light = tuple(f"Combined_{group}" for group in GROUPS) if self._apart else ("Image",)
        own = (("region", "COLOR"), ("worn", "VALUE")) if self._masks else ()
        for name, kind in own:
            aov = layer.aovs.add()
            aov.name, aov.type = name, kind
        if self._apart:
            for group in GROUPS:
                layer.lightgroups.add(name=group)
        tree = self._bpy.data.node_groups.new("passes", "CompositorNodeTree")
        self._scene.compositing_node_group = tree
        self._scene.render.use_compositing = True
        source = tree.nodes.new("CompositorNodeRLayers")
        out = tree.nodes.new("CompositorNodeOutputFile")
        out.directory, out.file_name = str(self._folder), "pass_"
        out.format.media_type = "IMAGE"
        out.format.file_format, out.format.color_depth = "OPEN_EXR", "32"
        for name in ("Alpha", "Depth", *(name for name, _ in own), *light):
            socket = source.outputs[name]
            kind = "FLOAT" if socket.type == "VALUE" else "RGBA"
            if name in light or (name == "Alpha" and self._apart):
                denoise = tree.nodes.new("CompositorNodeDenoise")
                denoise.inputs["Prefilter"].default_value = "Fast" if self._masks else "None"
                if name != "Alpha":  # whose guides are as noisy as itself where hair is thin
                    tree.links.new(source.outputs["Denoising Albedo"], denoise.inputs["Albedo"])
                    tree.links.new(source.outputs["Denoising Normal"], denoise.inputs["Normal"])
                tree.links.new(socket, denoise.inputs["Image"])
                socket = denoise.outputs[0]
            out.file_output_items.new(kind, name)
            tree.links.new(socket, out.inputs[name])

    def _aim_lamp(self, group: Group, angles: tuple[float, float], camera: Camera, at: Floats) -> None:
        from mathutils import Matrix

        azimuth, elevation = angles
        right, up, backward = camera.axes
        toward = np.cos(elevation) * (np.sin(azimuth) * right + np.cos(azimuth) * backward) + np.sin(elevation) * up
        side = np.cross(up, toward)
        side /= max(float(np.linalg.norm(side)), 1e-6)
        world = np.eye(4)
        world[:3, :3] = np.stack([side, np.cross(toward, side), toward], axis=1)
        world[:3, 3] = at + self._lamp_distance_m * toward
        self._lamps[group].matrix_world = Matrix(world.tolist())

    def _set_sky(self, rig: Rig, camera: Camera, mix: Mix | None) -> None:
        if self._quick and self._shown_sky is not None and np.array_equal(self._shown_sky, rig.sky):
            return  # a new sky, or a turned one, costs as much as the picture
        self._shown_sky = rig.sky
        height, width = rig.sky.shape
        image = self._bpy.data.images.new("sky", width, height, float_buffer=True)
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :3] = rig.sky[::-1, :, None] * (
            1.0 if mix is None else np.array(mix.weights.get("ambient", NO_LIGHT))
        )
        image.pixels.foreach_set(pixels.ravel())
        image.update()
        image.pack()
        self._sky.image = image
        backward = camera.axes[2]
        self._turn.inputs["Rotation"].default_value = (0, 0, float(-np.arctan2(backward[0], -backward[1]) + np.pi / 2))

    def _set_lights(self, rig: Rig, camera: Camera, at: Floats, mix: Mix | None) -> None:
        self._set_sky(rig, camera, mix)
        angles: dict[Group, tuple[float, float]] = {"sun": rig.sun, "key": rig.key, "fill": rig.fill}
        for group, at_angles in angles.items():
            self._aim_lamp(group, at_angles, camera, at)
        self._lamps["sun"].data.angle = rig.sun_size
        self._lamps["sun"].data.energy = np.pi
        sizes: dict[Group, float] = {"key": rig.key_size_m, "fill": rig.fill_size_m}
        for group, size in sizes.items():
            self._lamps[group].data.size = size
            self._lamps[group].data.energy = np.pi**2 * self._lamp_distance_m**2
        if mix is not None:
            for group, lamp in self._lamps.items():
                lamp.data.color = mix.weights.get(group, NO_LIGHT)
                lamp.hide_render = group not in mix.weights

    def render(
        self, camera: Camera, rig: Rig, gaze: Floats, seed: int, at: Floats | None = None, mix: Mix | None = None
    ) -> Passes:
        """Render one view.

        Parameters
        ----------
        gaze : (3, 3)
            Rotation of both eyes.
        seed : int
            Of the sampling noise.
        at : (3,), optional
            What the lamps shine at; an eye where left out.
        mix : Mix, optional
            In a studio that does not render light groups apart: the light of the picture.
        """
        from mathutils import Matrix

        data = self._camera.data
        data.angle, data.clip_start = camera.field_of_view, 0.05
        data.shift_x, data.shift_y = camera.shift
        self._camera.matrix_world = Matrix(camera.matrix().tolist())
        for eye, center in self._eyes:
            world = np.eye(4)
            world[:3, :3], world[:3, 3] = gaze, center
            eye.matrix_world = Matrix(world.tolist())
        self._set_lights(rig, camera, self._eyes[0][1] if at is None else at, mix)
        self._scene.cycles.seed = seed % 2**31
        self._bpy.ops.render.render()
        depth = self._read("Depth")[..., 0]
        depth = np.where(depth < MAX_DEPTH_M, depth, np.float32(np.inf))
        alpha = np.clip(self._read("Alpha")[..., 0], 0, 1)
        region, worn = np.zeros((*self._shape, 3), np.float32), np.zeros(self._shape, np.float32)
        if self._masks:
            region, worn = np.clip(self._read("region")[..., :3], 0, 1), np.clip(self._read("worn")[..., 0], 0, 1)
        if not self._apart:
            return Passes({}, alpha, region, worn, depth, self._read("Image")[..., :3])
        groups: dict[Group, Floats32] = {g: self._read(f"Combined_{g}")[..., :3] for g in GROUPS}
        return Passes(groups, alpha, region, worn, depth)

    def _read(self, name: str) -> Floats32:
        path = self._folder / f"pass_{name}.exr"
        image = self._bpy.data.images.load(str(path), check_existing=False)
        shape = (*self._shape, image.channels)
        pixels = np.empty(shape[0] * shape[1] * shape[2], np.float32)
        image.pixels.foreach_get(pixels)
        self._bpy.data.images.remove(image)
        path.unlink()
        return np.ascontiguousarray(pixels.reshape(shape)[::-1])
