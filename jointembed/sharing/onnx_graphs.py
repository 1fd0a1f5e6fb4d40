"""Columns of a space as ONNX graphs: cells as tensors in, vectors of the space out, for any program with a runtime.

`onnx/config.json` of an exported model names the files of each column with the tensors that they take, and the checksum
of each file. A graph takes any number of rows, and sounds and texts of any length; those of wav2vec2 and its relatives,
and of PE-AV, take sounds of up to one window. All else that decides a vector lies in it: the windows and the log-mel
spectrogram of a sound, the scale of numbers, the network, the projection, and the length of the vector.

Beside the graph of a column lies its head, which makes one vector of those of several pieces, such as the captions of a
cell or the windows of a long sound. A fusion is a graph over the points that the heads of its parts give. `OnnxSpace`
runs them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from .. import files
from ..config import to_config
from ..encoders import Encoder
from ..encoders.fusion import Fusion
from ..errors import LEAVE_OUT, UsageError, UserError, missing_extra
from ..readers.front_end import Axes, FrontEnd
from ..space import golden
from ..space.column import Column
from ..space.golden import Golden
from ..space.model_folder import CONFIG, TABLE, FolderWriter, to_json
from ..space.space import Space
from .onnx_int8 import write_int8
from .onnx_space import ENCODED, FORMAT, INT8, ONNX, POINT, POINTS, PRESENT, PROBABILITIES, VECTOR, OnnxSpace

# B rows, P pieces, W width of an encoder, C columns, D dimension of the space, K tags

FOLDER = "onnx"
OPSET = 20
MAX_DIFFERENCE = 1e-4  # of a number of a vector, from that of torch
MIN_COSINE = 0.999  # of a vector in 8-bit integers to that in float32
# What is computed in 8-bit integers: as much of the first as is accurate enough, else of the second.
INT8_OPERATORS = ["MatMul", "Gemm", "Conv"], ["MatMul", "Gemm"]


class Head(nn.Module):
    """Vectors of pieces (B, P, W) -> points of the space (B, D), as vectors and before they are normalised.

    Args:
        column: whose pieces they are.
        normalize: give unit vectors.
    """

    def __init__(self, column: Column, normalize: bool) -> None:
        super().__init__()
        self.encoder, self.projection, self.sequence = column.encoder, column.projection, column.sequence
        self.normalize = normalize

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, W) -> vectors (B, D), points (B, D)."""
        (encoded,) = tensors
        if self.sequence is not None:
            point: Tensor = self.sequence.read(self.projection(encoded))
        else:
            point = self.projection(self.encoder.pool_windows(encoded))
        return _unit(point) if self.normalize else point, point


class Graph(nn.Module):
    """The way of a column from tensors to vectors (B, D) of the space, and to those of the pieces (B, P, W).

    Args:
        front_end: of the reader.
        head: of the column.
    """

    def __init__(self, front_end: FrontEnd, head: Head) -> None:
        super().__init__()
        self.front_end, self.head = front_end, head

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """The tensors of the front end -> (B, D), (B, P, W)."""
        encoder = self.head.encoder
        if self.front_end.gives_tokens:
            ids, mask = self.front_end(*tensors)
            if ids.dim() == 2:
                encoded = encoder.embed_tokens(ids, mask)[:, None]
            else:
                encoded = encoder.embed_tokens(ids.flatten(0, 1), mask.flatten(0, 1)).reshape(*ids.shape[:2], -1)
        else:
            pieces = self.front_end(*tensors)  # (B, P, ...)
            encoded = encoder.embed_arrays(pieces.flatten(0, 1)).reshape(*pieces.shape[:2], -1)
        return self.head(encoded)[0], encoded


class FusionGraph(nn.Module):
    """Points of the parts of a fusion (B, C, D), and which are present (B, C) -> vectors (B, D).

    Args:
        network: of the fusion.
        normalize: give unit vectors.
    """

    def __init__(self, network: Fusion, normalize: bool) -> None:
        super().__init__()
        self.network, self.normalize = network, normalize

    def forward(self, *tensors: Tensor) -> Tensor:
        """(B, C, D), (B, C) -> (B, D)."""
        z: Tensor = self.network(*tensors)
        return _unit(z) if self.normalize else z


class Tagger(nn.Module):
    """Vectors of a column (B, D) -> the probability of each tag (B, K).

    Args:
        encoder: of the column.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *tensors: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        return torch.stack(list(self.encoder.tag_probabilities(*tensors).values()), 1)


def _unit(z: Tensor) -> Tensor:
    unit: Tensor = z / z.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return unit


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


def write_graphs(
    space: Space,
    columns: Mapping[str, Golden],
    folder: Path,
    int8: bool = False,
    table: Mapping[str, Any] | None = None,
) -> list[Result]:
    """Write the graphs of each column that can be exported, and check them with ONNX Runtime.

    Args:
        space: the model, on the CPU.
        columns: cells of each column, and their vectors.
        folder: of the graphs, what their readers learned, the cells, and config.json.
        int8: write a graph that computes in 8-bit integers beside each, where it gives nearly the same vectors.
        table: how the table of the model was read.
    """
    writer = FolderWriter(files.make_dir(folder))
    onnx = OnnxSpace(folder, space.dim, space.metric, space.fingerprint, space.description)
    readers = {name: encoder.reader for name, encoder in space.encoders.items()}
    results: list[Result] = []
    about: dict[str, Any] = {}
    for column in [*space.columns, *space.fusions]:
        try:
            own = _export_fusion(space, onnx, column) if column in space.fusions else _export(space, column, folder)
            onnx.add(column, own, readers)
            difference = _difference(onnx, column, columns.get(column))
        except UserError as error:
            results.append(Result(column, refusal=f"{error.subject}: {error.problem}"))
            continue
        if difference is not None and not difference <= MAX_DIFFERENCE:
            onnx.remove(column)
            results.append(Result(column, difference, refusal=f"its vectors differ from torch's by {difference:.1g}"))
            continue
        result = Result(column, difference)
        if int8 and column in space.columns:
            result = _quantize(onnx, column, own, readers, columns.get(column), result)
        about[column] = own
        results.append(result)
    for file in sorted({path.name for path in folder.iterdir()} - set(_files(about))):
        (folder / file).unlink()
    for file in _files(about):
        writer.note(file)
    used = dict.fromkeys(onnx.columns.values())
    writer.add_readers({name: readers[name].state() for name in used})
    golden.write({name: cells for name, cells in columns.items() if name in about}, writer)
    config = {
        "library_name": "jointembed",
        ONNX: FORMAT,
        "dim": space.dim,
        "metric": space.metric,
        "fingerprint": space.fingerprint,
        "description": space.description,
        "columns": about,
        "readers": {name: to_config(readers[name]) for name in used},
        **({TABLE: dict(table)} if table else {}),
        "files": writer.checksums,
    }
    files.write(folder / CONFIG, to_json(config))
    return results


def _quote(column: str) -> str:
    """The name of a column as that of a file, without dots, which set apart its graphs."""
    return quote(column, safe="").replace(".", "%2E")


def _files(value: Any) -> list[str]:
    """The files that the description of columns names."""
    if not isinstance(value, dict):
        return []
    own = [value["file"]] if isinstance(value.get("file"), str) else []
    return own + [file for part in value.values() for file in _files(part)]


def make_graph(space: Space, column: str) -> Graph:
    """The graph of a column.

    Raises:
        UsageError: its reader or its encoder cannot be exported.
    """
    path = space.column(column)
    front_end = path.reader.front_end()
    if path.sequence is not None:
        front_end = front_end.in_pieces()
    return Graph(front_end, Head(path, space.metric == "cosine")).eval()


def _export(space: Space, column: str, folder: Path) -> dict[str, Any]:
    """Write the graphs of a column; what config.json has of it."""
    graph, name = make_graph(space, column), _quote(column)
    encoder, front_end = graph.head.encoder, graph.front_end
    width = int(encoder.width)
    examples = {ENCODED: torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0))}
    axes: dict[str, Axes] = {ENCODED: ("batch", "pieces", width)}
    outputs: dict[str, Axes] = {VECTOR: ("batch", space.dim), ENCODED: axes[ENCODED]}
    about = _trace(graph, folder / f"{name}.onnx", front_end.examples(), front_end.axes, outputs)
    _set_defaults(folder / f"{name}.onnx", front_end.defaults)
    vectors: dict[str, Axes] = {VECTOR: ("batch", space.dim), POINT: ("batch", space.dim)}
    about["head"] = _trace(graph.head, folder / f"{name}.head.onnx", examples, axes, vectors)
    if type(encoder).derive_cells is not Encoder.derive_cells:
        point, axes = torch.randn(2, space.dim), {VECTOR: ("batch", space.dim)}
        tags = list(encoder.tag_probabilities(point))
        probabilities: dict[str, Axes] = {PROBABILITIES: ("batch", len(tags))}
        tagger = _trace(Tagger(encoder), folder / f"{name}.tags.onnx", {VECTOR: point}, axes, probabilities)
        about["tagger"] = {**tagger, "tags": tags}
    sample_rate = space.reader(column).sample_rate
    rate = {"sample_rate": sample_rate} if sample_rate else {}
    in_order = graph.head.sequence is not None
    return {**about, "encoder": space.columns[column], "in_order": in_order, **rate}


def _export_fusion(space: Space, onnx: OnnxSpace, fusion: str) -> dict[str, Any]:
    parts = space.fusions[fusion]
    for part in parts:
        if part not in onnx.columns:
            raise UsageError(part, "this part of it is not exported", LEAVE_OUT)
    graph = FusionGraph(space.fusion_networks[fusion], space.metric == "cosine").eval()
    points = torch.randn(2, len(parts), space.dim, generator=torch.Generator().manual_seed(0))
    present = torch.arange(2 * len(parts)).reshape(2, -1) != 1
    axes: dict[str, Axes] = {POINTS: ("batch", len(parts), space.dim), PRESENT: ("batch", len(parts))}
    path, outputs = onnx.folder / f"{_quote(fusion)}.onnx", {VECTOR: ("batch", space.dim)}
    return {**_trace(graph, path, {POINTS: points, PRESENT: present}, axes, outputs), "parts": parts}


def _trace(
    graph: nn.Module, path: Path, examples: Mapping[str, Tensor], axes: Mapping[str, Axes], outputs: Mapping[str, Axes]
) -> dict[str, Any]:
    """Write a graph of these inputs and outputs; its file and what it takes and gives."""
    shapes = tuple(
        {number: axis for number, axis in enumerate(axes[name]) if isinstance(axis, str)} for name in examples
    )
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), torch.inference_mode(False), torch.no_grad():
            for optimize in (True, False):
                program: Any = torch.onnx.export(
                    graph.eval(),
                    tuple(examples.values()),
                    dynamo=True,
                    dynamic_shapes=(shapes,),
                    input_names=list(examples),
                    output_names=list(outputs),
                    opset_version=OPSET,
                    verbose=False,
                    optimize=optimize,
                )
                if _is_whole(program.model.graph):
                    break
            program.save(str(path), external_data=False)
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds for what it cannot trace
        cause = next((cause for cause in _causes(error) if isinstance(cause, UserError)), None)
        if cause is not None:
            raise cause from error
        reason = [*str(error).strip().splitlines(), ""][0][:200]
        raise UsageError(path.stem, f"torch cannot trace it ({reason})", LEAVE_OUT) from error
    finally:
        logger.setLevel(level)
    return {
        "file": path.name,
        "inputs": {
            name: {"dtype": str(example.dtype).removeprefix("torch."), "axes": list(axes[name])}
            for name, example in examples.items()
        },
        "outputs": {name: list(output) for name, output in outputs.items()},
    }


def _is_whole(graph: Any) -> bool:
    """Whether all that the nodes of a graph read exists.

    The optimizer of onnxscript 0.7 gives two limits one name where a tensor is clipped twice, and so loses one of them.
    """
    sources = {id(value) for value in (*graph.inputs, *graph.initializers.values())}
    read = (value for node in graph for value in node.inputs if value is not None)
    return all(value.producer() is not None or id(value) in sources for value in read)


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]


def _set_defaults(path: Path, defaults: Mapping[str, Tensor]) -> None:
    """Let a graph be run without some of its inputs: a weight of the same name is then read in their place."""
    if not defaults:
        return
    import onnx

    model = onnx.load(path)
    for name, value in defaults.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
    onnx.save(model, path)


def _difference(onnx: OnnxSpace, column: str, cells: Golden | None) -> float | None:
    """The largest difference of numbers of vectors from those of torch; None without cells."""
    return None if cells is None else float(np.abs(onnx.embed(column, cells.cells) - cells.vectors).max())


def _quantize(
    onnx: OnnxSpace,
    column: str,
    about: dict[str, Any],
    readers: Mapping[str, Any],
    cells: Golden | None,
    result: Result,
) -> Result:
    """Write a graph with 8-bit integers, as many as leave the vectors what they are."""
    if cells is None:
        return replace(result, refusal="int8: no example cells measure what it costs")
    source, cosine = onnx.folder / str(about["file"]), 0.0
    path = source.with_name(f"{source.stem}.int8.onnx")
    for operators in INT8_OPERATORS:
        if not write_int8(source, path, operators):
            return replace(result, refusal="int8: it has no layers that compute in 8-bit integers")
        onnx.add(column, {**about, INT8: {"file": path.name}}, readers)
        cosine = _smallest_cosine(onnx.embed(column, cells.cells, precision=INT8), cells.vectors)
        if cosine >= MIN_COSINE:
            about[INT8] = {"file": path.name}
            return replace(result, int8_cosine=cosine)
    wrong = f"int8: the cosine to float32 is only {cosine:.4f}, below {MIN_COSINE}"
    return replace(result, int8_cosine=cosine, refusal=wrong)


def _smallest_cosine(z: golden.Vectors, exact: golden.Vectors) -> float:
    """The smallest cosine of vectors (N, D) to the exact ones, of those that have a length."""
    products = np.einsum("nd,nd->n", z.astype(np.float64), exact.astype(np.float64))
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(z, axis=1)
    return float((products[lengths > 0] / lengths[lengths > 0]).min(initial=1.0))
