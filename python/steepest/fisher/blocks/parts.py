"""The parts of a vector of a network's parameters: one for each layer, with what its operations have in common."""

from __future__ import annotations

from collections.abc import Mapping

from steepest.nn.layers import ParameterSpec
from steepest.nn.ops import LinearOperation
from steepest.nn.ops.convolution import ConvolutionOperation, TransposedConvolutionOperation
from steepest.nn.ops.normalization import NormalizationOperation, RunningNormOperation
from steepest.nn.program import Node, Program

from .base import Form, Part, Use


def parts_of(program: Program, specs: Mapping[str, ParameterSpec]) -> list[Part]:
    """Return the parts of a vector of the parameters of a program, a part for each layer that has some."""
    by_layer: dict[str, list[str]] = {}
    for name in specs:
        by_layer.setdefault(name.rpartition(".")[0], []).append(name)
    parts = []
    for names in by_layer.values():
        nodes = [n for n in program.nodes if any(r.name in names for r in n.parameters.values())]
        uses = tuple(
            Use(n.output, {role: r for role, r in n.parameters.items() if r.name in names}) for n in nodes
        )
        form = _form_of(nodes, names)
        is_tied = form == "linear" and any(node.parameters["weight"].transposed for node in nodes)
        is_shared = len(nodes) != 1 or len(program.shapes[nodes[0].output]) != 1
        first = nodes[0].operation if nodes else None
        groups = first.geometry.arguments["groups"] if isinstance(first, ConvolutionOperation) else 1
        shapes = tuple(specs[name].shape for name in names)
        parts.append(Part(tuple(names), shapes, uses, form, is_shared, is_tied, groups))
    return parts


def _form_of(nodes: list[Node], names: list[str]) -> Form:
    """Return what all operations with the parameters of a layer are."""
    if nodes and all(_is_linear(node, names) for node in nodes):
        return "linear"
    if not nodes or any(_own(node, names) != names for node in nodes):
        return "other"
    kinds = [type(node.operation) for node in nodes]
    if all(kind is ConvolutionOperation for kind in kinds):
        return "convolution"
    if all(kind is TransposedConvolutionOperation for kind in kinds):
        return "transposed convolution"
    if all(kind in (NormalizationOperation, RunningNormOperation) for kind in kinds):
        return "normalization"
    return "other"


def _own(node: Node, names: list[str]) -> list[str]:
    """Return the parameters of a layer that an operation uses."""
    return [reference.name for reference in node.parameters.values() if reference.name in names]


def _is_linear(node: Node, names: list[str]) -> bool:
    """Return whether a node is a linear map with the weights, and the bias if they are not transposed, of a part."""
    if not isinstance(node.operation, LinearOperation):
        return False
    weight = node.parameters["weight"]
    used = [reference.name for reference in node.parameters.values()]
    return weight.name == names[0] if weight.transposed else used == names
