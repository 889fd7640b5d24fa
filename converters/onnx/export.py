"""A net's deployed part as one ONNX graph whose values have the blobs' names.

Most layers write their own nodes (`Layer.write_onnx`). The others go through torch's exporter, consecutive
ones together (`torch_piece`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlossctl.converters.onnx import torch_piece
from rlossctl.converters.onnx.naming import rename_in
from rlossctl.converters.onnx.sizes import Size, Sizes
from rlossctl.net.deploy import Deploy
from rlossctl.net.onnx_graph import FLOAT, OnnxGraph
from rlossctl.net.values import Value, version_names

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

OPSET = torch_piece.OPSET
IR_VERSION = 10


def export(
    deploy: Deploy, sizes: Sequence[Size], *, by_torch: bool = False
) -> tuple[ModelProto, list[Value]]:
    """The deployed part as an ONNX graph.

    Args:
        sizes: two heights and widths that the net takes, if they may vary; else the only one. The batch
            always may.
        by_torch: let torch export all layers, also those that write themselves.

    Returns:
        The model, and the values that are in the graph under their names, in order.

    Raises:
        NetError: the sizes cannot vary, or torch cannot export a layer.
    """
    writer = _Writer(deploy, Sizes(deploy, sizes))
    for number in range(len(deploy.layers)):
        if by_torch or not writer.write(number):
            writer.wait(number)
    writer.write_waiting()
    return writer.model(), writer.sizes.values


class _Writer:
    """The graph so far, and which value of it each blob is."""

    def __init__(self, deploy: Deploy, sizes: Sizes) -> None:
        self.deploy, self.sizes, self.graph = deploy, sizes, OnnxGraph()
        owners = {name: value.name for value in sizes.values for name in value.names}
        self._tops = {
            place: owners.get(name, deploy.input_name) for place, name in version_names(deploy).items()
        }
        self._made = {(value.number, value.top): value.name for value in sizes.values}
        self._current = self._before = {deploy.input_name: deploy.input_name}  # blob -> value of the graph
        self._waiting: list[int] = []
        for name in (deploy.input_name, *self._made.values()):
            self.graph.free(name)

    def write(self, number: int) -> bool:
        """Lets a layer write itself, after those that wait for torch; False if it cannot."""
        layer, start = self.deploy.layers[number], len(self.graph.nodes)
        self.graph.layer = layer.name
        bottoms = [self.sizes.known(self._current[name]) for name in layer.bottoms]
        tops = layer.module.write_onnx(self.graph, *bottoms)
        if tops is None:
            return False
        own = self.graph.nodes[start:]
        del self.graph.nodes[start:]
        self.write_waiting()
        self._name(own, number, [tops] if isinstance(tops, str) else list(tops))
        self._bind(number)
        return True

    def wait(self, number: int) -> None:
        """Leaves a layer to `write_waiting`."""
        if not self._waiting:
            self._before = dict(self._current)
        self._waiting.append(number)
        self._bind(number)

    def write_waiting(self) -> None:
        """Has torch export the layers that wait, which are consecutive."""
        places = [place for place in self._made if place[0] in self._waiting]
        if places:
            piece = torch_piece.Piece([(n, self.deploy.layers[n]) for n in self._waiting], places)
            self.graph.layer = self.deploy.layers[self._waiting[0]].name
            sources = [self._source(self._before[name]) for name in piece.bottoms]
            torch_piece.add_piece(self.graph, piece, sources, [self._made[place] for place in places])
        self._waiting.clear()

    def model(self) -> ModelProto:
        """The finished graph."""
        from onnx import helper

        graph, deploy = self.graph, self.deploy
        nodes = list(graph.nodes)
        for name in deploy.output_names:
            if self._current[name] != name:  # a tensor with two names
                nodes.append(helper.make_node("Identity", [self._current[name]], [name], name))
        outputs = [self._info(name, self._current[name]) for name in deploy.output_names]
        inner = [name for name in self._made.values() if name not in deploy.output_names]
        found = helper.make_graph(
            nodes,
            "net",
            [self._info(deploy.input_name, deploy.input_name)],
            outputs,
            value_info=[self._info(name, name) for name in inner],
        )
        found.initializer.extend(graph.weights.values())
        return helper.make_model(
            found,
            functions=graph.functions,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )

    def _bind(self, number: int) -> None:
        layer = self.deploy.layers[number]
        self._current |= {top: self._tops[number, index] for index, top in enumerate(layer.tops)}

    def _name(self, nodes: list[NodeProto], number: int, tops: Sequence[str]) -> None:
        """Adds a layer's nodes; what makes its tops gets their names, and the last node the layer's."""
        names = {
            top: self._made[number, index] for index, top in enumerate(tops) if (number, index) in self._made
        }
        made = {name for node in nodes for name in node.output}
        rename_in(nodes, {top: name for top, name in names.items() if top in made})
        if nodes:
            nodes[-1].name = self.graph.free(self.deploy.layers[number].name)
        self.graph.nodes.extend(nodes)
        for top, name in names.items():
            if top not in made:
                self.graph.copy(top, name)

    def _source(self, name: str) -> tuple[str, tuple[int, ...], list[int]]:
        """What a piece reads: the value, a shape, and the axes that vary."""
        varying = [axis for axis, size in enumerate(self.sizes.known(name).shape) if size is None]
        return name, self.sizes.example[name], varying

    def _info(self, name: str, value: str) -> ValueInfoProto:
        from onnx import helper

        return helper.make_tensor_value_info(name, FLOAT, self.sizes.axes(value))
