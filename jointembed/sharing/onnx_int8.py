"""ONNX graphs that compute in 8-bit integers."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

FRONT_END = "front_end."  # before the names of its weights in a graph


def write_int8(source: Path, target: Path, operators: list[str]) -> bool:
    """Write a graph whose operators of these kinds compute in 8-bit integers, but for the front end; False without any.

    Weights have 7 bits: processors without VNNI saturate sums of two products of 8 bits.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(source).graph.node
    front_end = [node.name for node in nodes if any(name.startswith(FRONT_END) for name in node.input)]
    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)  # it advises to preprocess the graph, which torch has done
        with warnings.catch_warnings(action="ignore"):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=operators,
                nodes_to_exclude=front_end,
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
    finally:
        root.setLevel(level)
    return any(node.op_type == "DynamicQuantizeLinear" for node in onnx.load(target).graph.node)
