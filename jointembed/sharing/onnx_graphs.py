"""Columns of a space as ONNX graphs: cells as tensors in, vectors of the space out, for any program with a runtime.

`onnx/config.json` of an exported model names the file of each column with the tensors that it takes. A graph takes any
number of rows, and sounds and texts of any length. All else that decides a vector lies in it: the windows and the
log-mel spectrogram of a sound, the scale of numbers, the network, the projection, and the length of the vector.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import files
from ..encoders import Encoder
from ..errors import UsageError, UserError, missing_extra
from ..readers.front_end import FrontEnd
from ..space.golden import Golden
from ..space.inference import Vectors
from ..space.space import Space

# B rows, P pieces, D dimension

FOLDER = "onnx"
OPSET = 20
OUTPUT = "vector"
FRONT_END = "front_end."  # before the names of its weights in a graph
MAX_DIFFERENCE = 1e-4  # of a number of a vector, from that of torch
MIN_COSINE = 0.999  # of a vector in 8-bit integers to that in float32
# What is computed in 8-bit integers: as much of the first as is accurate enough, else of the second.
INT8_OPERATORS = ["MatMul", "Gemm", "Conv"], ["MatMul", "Gemm"]


class Graph(nn.Module):
    """The way of a column from tensors to vectors (B, D) of the space.

    Args:
        front_end: of the reader.
        encoder: of the column.
        projection: into the space.
        normalize: give unit vectors.
    """

    def __init__(self, front_end: FrontEnd, encoder: Encoder, projection: nn.Module, normalize: bool) -> None:
        super().__init__()
        self.front_end, self.encoder, self.projection, self.normalize = front_end, encoder, projection, normalize

    def forward(self, *tensors: Tensor) -> Tensor:
        """The tensors of the front end -> (B, D)."""
        if self.front_end.gives_tokens:
            h = self.encoder.embed_tokens(*self.front_end(*tensors))
        else:
            pieces = self.front_end(*tensors)  # (B, P, ...)
            h = self.encoder.embed_arrays(pieces.flatten(0, 1))
            h = self.encoder.pool_windows(h.reshape(*pieces.shape[:2], -1))
        z: Tensor = self.projection(h)
        return z / z.norm(dim=1, keepdim=True).clamp(min=1e-30) if self.normalize else z


@dataclass(frozen=True)
class Result:
    """What became of a column.

    Args:
        column: its name.
        difference: the largest from the numbers of torch's vectors, over the example cells.
        int8_cosine: the smallest of a vector in 8-bit integers to that in float32; None if it was not measured.
        refusal: why it, or its version in 8-bit integers, was not written; empty if it was.
    """

    column: str
    difference: float | None = None
    int8_cosine: float | None = None
    refusal: str = ""

    def __str__(self) -> str:
        parts = [] if self.difference is None else [f"differs from torch by {self.difference:.1g} at most"]
        parts += [] if self.int8_cosine is None or self.refusal else [f"int8: cosine {self.int8_cosine:.5f}"]
        parts += [f"left out: {self.refusal}"] if self.refusal else []
        return f"{self.column}: {'; '.join(parts)}"


def check_installed() -> None:
    """Raise UsageError unless what exports and runs graphs is installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(FOLDER, str(error.name)) from error


def write_graphs(space: Space, columns: Mapping[str, Golden], folder: Path, int8: bool = False) -> list[Result]:
    """Write a graph for each column that can be exported, and check it with ONNX Runtime.

    Args:
        space: the model, on the CPU.
        columns: cells of each column, and their vectors.
        folder: of the graphs and their config.json.
        int8: write a graph that computes in 8-bit integers beside each, where it gives nearly the same vectors.
    """
    files.make_dir(folder)
    results: list[Result] = []
    about: dict[str, Any] = {}
    for column in [*space.columns, *space.fusions]:
        try:
            graph = make_graph(space, column)
            name = quote(column, safe="")
            path = folder / f"{name}.onnx"
            _trace(graph, path, column)
            difference = _compare(graph.front_end, path, columns.get(column))
        except UserError as error:
            results.append(Result(column, refusal=f"{error.subject}: {error.problem}"))
            continue
        if difference is not None and not difference <= MAX_DIFFERENCE:
            path.unlink()
            results.append(Result(column, difference, refusal=f"its vectors differ from torch's by {difference:.1g}"))
            continue
        about[column] = _describe(graph, path, space)
        result = Result(column, difference)
        if int8:
            result = _quantize(graph, path, columns.get(column), result)
            if not result.refusal:
                about[column]["int8"] = {"file": _int8_path(path).name, "sha256": files.sha256(_int8_path(path))}
        results.append(result)
    config = {"dim": space.dim, "metric": space.metric, "fingerprint": space.fingerprint, "columns": about}
    files.write(folder / "config.json", json.dumps(config, indent=1))
    return results


def make_graph(space: Space, column: str) -> Graph:
    """The graph of a column.

    Raises:
        UsageError: its reader or its encoder cannot be exported.
    """
    if column in space.fusions:
        raise UsageError(column, "fusions are not exported to ONNX", "embed it with jointembed")
    path = space.column(column)
    if path.sequence is not None:
        kind = type(path.sequence).__name__
        raise UsageError(kind, "reading pieces in order is not exported to ONNX", "embed it with jointembed")
    return Graph(path.reader.front_end(), path.encoder, path.projection, space.metric == "cosine").eval()


def _trace(graph: Graph, path: Path, column: str) -> None:
    examples = graph.front_end.examples()
    shapes = tuple(
        {number: axis for number, axis in enumerate(graph.front_end.axes[name]) if isinstance(axis, str)}
        for name in examples
    )
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), torch.inference_mode(False), torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                tuple(examples.values()),
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(examples),
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
            program.save(str(path), external_data=False)
    except Exception as error:  # torch raises many kinds for what it cannot trace
        reason = [*str(error).strip().splitlines(), ""][0][:200]
        name = type(graph.encoder).__name__
        raise UsageError(name, f"torch cannot trace it ({reason})", "embed it with jointembed") from error
    finally:
        logger.setLevel(level)


def open_session(path: Path) -> Any:
    """ONNX Runtime on the CPU with a graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, front_end: FrontEnd, cells: Sequence[Any]) -> Vectors:
    """The vectors (N, D) of cells, each alone."""
    vectors = [session.run([OUTPUT], front_end.tensors(cell))[0] for cell in cells]
    return np.concatenate(vectors)


def _graph_cells(front_end: FrontEnd, golden: Golden | None) -> tuple[list[Any], NDArray[np.float32]] | None:
    """The cells that a graph reads, with their vectors: it takes one element a row, but lists of categories."""
    pairs = []
    for cell, vector in zip(golden.cells, golden.vectors, strict=True) if golden else ():
        try:
            front_end.tensors(cell)
        except UserError:
            continue
        pairs.append((cell, vector))
    return ([cell for cell, _ in pairs], np.stack([vector for _, vector in pairs])) if pairs else None


def _compare(front_end: FrontEnd, path: Path, golden: Golden | None) -> float | None:
    cells = _graph_cells(front_end, golden)
    if cells is None:
        return None
    return float(np.abs(run_session(open_session(path), front_end, cells[0]) - cells[1]).max())


def _int8_path(path: Path) -> Path:
    return path.with_name(path.stem + ".int8.onnx")


def _quantize(graph: Graph, path: Path, golden: Golden | None, result: Result) -> Result:
    """Write a graph with 8-bit integers, as many as leave the vectors what they are."""
    cells, cosine = _graph_cells(graph.front_end, golden), 0.0
    if cells is None:
        return replace(result, refusal="int8: no example cells measure what it costs")
    for operators in INT8_OPERATORS:
        if not _write_int8(path, operators):
            _int8_path(path).unlink()
            break
        cosine = _smallest_cosine(run_session(open_session(_int8_path(path)), graph.front_end, cells[0]), cells[1])
        if cosine >= MIN_COSINE:
            return replace(result, int8_cosine=cosine)
        _int8_path(path).unlink()
    else:
        wrong = f"int8: the cosine to float32 is only {cosine:.4f}, below {MIN_COSINE}"
        return replace(result, int8_cosine=cosine, refusal=wrong)
    return replace(result, refusal="int8: it has no layers that compute in 8-bit integers")


def _write_int8(path: Path, operators: list[str]) -> bool:
    """Write a graph whose operators of these kinds compute in 8-bit integers, but for the front end; False without any.

    Weights have 7 bits: processors without VNNI saturate sums of two products of 8 bits.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(path).graph.node
    front_end = [node.name for node in nodes if any(name.startswith(FRONT_END) for name in node.input)]
    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)  # it advises to preprocess the graph, which torch has done
        with warnings.catch_warnings(action="ignore"):
            quantize_dynamic(
                path,
                _int8_path(path),
                op_types_to_quantize=operators,
                nodes_to_exclude=front_end,
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
    finally:
        root.setLevel(level)
    return any(node.op_type == "DynamicQuantizeLinear" for node in onnx.load(_int8_path(path)).graph.node)


def _smallest_cosine(z: Vectors, exact: Vectors) -> float:
    """The smallest cosine of vectors (N, D) to the exact ones, of those that have a length."""
    products = np.einsum("nd,nd->n", z.astype(np.float64), exact.astype(np.float64))
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(z, axis=1)
    return float((products[lengths > 0] / lengths[lengths > 0]).min(initial=1.0))


def _describe(graph: Graph, path: Path, space: Space) -> dict[str, Any]:
    examples, reader = graph.front_end.examples(), graph.encoder.reader
    return {
        "file": path.name,
        "sha256": files.sha256(path),
        "inputs": {
            name: {"dtype": str(example.dtype).removeprefix("torch."), "axes": list(graph.front_end.axes[name])}
            for name, example in examples.items()
        },
        "output": {OUTPUT: ["batch", space.dim]},
        **({"sample_rate": reader.sample_rate} if reader.sample_rate else {}),
    }
