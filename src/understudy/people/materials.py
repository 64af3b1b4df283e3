"""Materials as Cycles shader nodes. ``bpy`` stays in here."""

from __future__ import annotations

from typing import Any

from understudy.people.parts import HairMaterial, Material


def make_material(name: str, material: Material | HairMaterial, *, quick: bool = False) -> Any:
    """A Blender material that also writes the passes ``region`` and ``worn``; ``quick`` scatters light by a profile."""
    import bpy

    made = bpy.data.materials.new(name)
    made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    shader = _hair(tree, material) if isinstance(material, HairMaterial) else _surface(tree, material, quick)
    tree.links.new(shader.outputs[0], out.inputs[0])
    region = tree.nodes.new("ShaderNodeOutputAOV")
    region.aov_name = "region"
    if material.region is None:
        tree.links.new(_attribute(tree, "region").outputs["Color"], region.inputs["Color"])
    else:
        region.inputs["Color"].default_value = (*material.region, 1)
    worn = tree.nodes.new("ShaderNodeOutputAOV")
    worn.aov_name = "worn"
    worn.inputs["Value"].default_value = 0.0 if isinstance(material, HairMaterial) else material.worn
    return made


def _attribute(tree: Any, name: str) -> Any:
    node = tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = name
    return node


def _hair(tree: Any, material: HairMaterial) -> Any:
    node = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    node.parametrization = "MELANIN"
    values = {
        "Melanin": material.melanin,
        "Melanin Redness": material.redness,
        "Roughness": material.roughness,
        "Radial Roughness": 0.4,
        "Random Color": 0.25,
        "Random Roughness": 0.2,
    }
    for name, value in values.items():
        if name in node.inputs:
            node.inputs[name].default_value = value
    return node


def _surface(tree: Any, material: Material, quick: bool) -> Any:
    node = tree.nodes.new("ShaderNodeBsdfPrincipled")
    if quick:
        node.subsurface_method = "BURLEY"
    if material.color is None:
        tree.links.new(_attribute(tree, "albedo").outputs["Color"], node.inputs["Base Color"])
    else:
        node.inputs["Base Color"].default_value = (*material.color, 1)
    if material.roughness is None:
        tree.links.new(_attribute(tree, "roughness").outputs["Fac"], node.inputs["Roughness"])
    else:
        node.inputs["Roughness"].default_value = material.roughness
    values = {
        "Specular IOR Level": material.specular,
        "Coat Weight": material.coat,
        "Coat Roughness": 0.02,
        "Sheen Weight": material.sheen,
        "Alpha": material.opacity,
        "Emission Color": (*(material.color or (1.0, 1.0, 1.0)), 1),
        "Emission Strength": material.glow,
        "Subsurface Weight": material.subsurface,
        "Subsurface Radius": material.subsurface_radius,
        "Subsurface Scale": material.subsurface_scale_m,
    }
    for name, value in values.items():
        node.inputs[name].default_value = value
    if material.cut:
        over = tree.nodes.new("ShaderNodeMath")
        over.operation = "GREATER_THAN"
        over.inputs[1].default_value = 0
        tree.links.new(_attribute(tree, "cut").outputs["Fac"], over.inputs[0])
        tree.links.new(over.outputs[0], node.inputs["Alpha"])
    if material.pores:
        _bump(tree, node, 550.0, material.pores)
    elif material.weave_m:
        _bump(tree, node, 1 / material.weave_m, 0.5)
    return node


def _bump(tree: Any, node: Any, scale: float, strength: float) -> None:
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = scale
    noise.inputs["Detail"].default_value = 3
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = strength
    bump.inputs["Distance"].default_value = 0.001
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Object"], noise.inputs["Vector"])
    tree.links.new(noise.outputs["Fac"], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], node.inputs["Normal"])
