"""Layouts of an index in two or three dimensions: the positions of the points on its map.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean, missing_extra
from ..index.cache import cache_path, read_checked, write_checked
from ..index.index import Index
from ..index.search.memmap import iter_slices

Array = npt.NDArray[Any]

_CHUNK_ROWS = 8_192  # in float64 at once
UMAP_MIN_ROWS = 8  # fewer are laid out by their principal components


def available_axes(index: Index, column: str | None = None) -> list[str]:
    """Return the axes that `compute_layout` takes: the projections that are installed, then the numeric columns."""
    umap = ["umap2", "umap3"] if importlib.util.find_spec("umap") else []
    numbers = [name for name, kind in index.column_kinds(column).items() if kind.numeric and kind.size > 1]
    return ["pca2", "pca3", *umap, *numbers]


def compute_layout(index: Index, axes: str, column: str | None = None) -> npt.NDArray[np.float32]:
    """Return the position of each vector of a field on a map: (N, 3) in [-1, 1], in the order of `Index.ids`.

    Args:
        index: the index.
        axes: `pca2` or `pca3` for principal components; `umap2` or `umap3` for UMAP, which keeps neighbors together; or
            two or three numeric columns, such as `year,price`, as a line of CSV.
        column: the field; the first one if None.

    Returns:
        The map; z is 0 if it has two dimensions. A projection keeps its proportions, columns fill the whole range.
        A row without a value is NaN. The same index gives the same map.

    Raises:
        UsageError: the axes are unknown, or UMAP is not installed.
    """
    kind = re.fullmatch(r"(pca|umap)([23])", axes)
    if kind:
        project = _umap if kind[1] == "umap" else _pca
        return _scale_to_unit_box(project(index, column, int(kind[2])), per_axis=False)
    names: list[str] = []
    with contextlib.suppress(csv.Error):  # more than one line
        names = next(csv.reader([axes]), [])
    numeric = [name for name, kind in index.column_kinds(column).items() if kind.numeric]
    for name in names:
        if name not in numeric:
            wrong = f"unknown layout or numeric column: {name}"
            raise UsageError(axes, wrong, did_you_mean(name, ["pca2", "pca3", *numeric]))
    if len(names) not in (2, 3):
        wrong = f"needs two or three numeric columns, got {len(names)}"
        raise UsageError(axes, wrong, "use pca2, pca3, umap2, umap3, or columns such as year,price")
    values = index.cells(names, column)
    return _scale_to_unit_box(np.array([values[name] for name in names], np.float64).T, per_axis=True)


def is_cached(index: Index, axes: str, column: str | None = None) -> bool:
    """Whether a UMAP layout of a field is beside the index already: `compute_layout` takes no time then."""
    return _umap_path(index, axes, column).exists()


def _umap_path(index: Index, axes: str, column: str | None) -> Path:
    return cache_path(index.path, index.info, column or index.fields[0], axes)


def _scale_to_unit_box(points: Array, per_axis: bool) -> npt.NDArray[np.float32]:
    """Scale points (N, 2 or 3) into [-1, 1], all axes alike or each by itself, and pad them to (N, 3)."""
    scaled = np.zeros((len(points), 3), np.float32)
    dims = points.shape[1]
    if not np.isfinite(points).any():
        scaled[:, :dims] = np.nan
        return scaled
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    radius = (high - low) / 2 if per_axis else np.full(dims, (high - low).max() / 2)
    scaled[:, :dims] = np.clip((points - (low + high) / 2) / np.where(radius > 0, radius, 1), -1, 1)
    scaled[np.isnan(scaled).any(1)] = np.nan
    return scaled


def _pca(index: Index, column: str | None, dims: int) -> Array:
    """Return the first principal components (N, dims), with signs such that the largest weight of each is positive."""
    _, values = index.vectors(column)
    count, width = values.shape
    mean = sum((part.sum(0, dtype=np.float64) for part in _parts(values)), np.zeros(width)) / max(count, 1)
    scatter = np.zeros((width, width))
    for part in _parts(values):
        centered = part - mean
        scatter += centered.T @ centered
    weights = np.linalg.eigh(scatter)[1][:, ::-1][:, :dims]
    weights = weights * np.sign(weights[np.abs(weights).argmax(0), np.arange(weights.shape[1])])
    points = np.zeros((count, dims))
    for rows in iter_slices(values, _CHUNK_ROWS):
        points[rows, : weights.shape[1]] = (values[rows].astype(np.float64) - mean) @ weights
    return points


def _parts(values: npt.NDArray[np.float32]) -> Iterator[Array]:
    return (values[rows].astype(np.float64) for rows in iter_slices(values, _CHUNK_ROWS))


def _umap(index: Index, column: str | None, dims: int) -> Array:
    """Return a UMAP layout (McInnes et al. 2018) that starts from PCA with a fixed seed, cached beside the index."""
    _, values = index.vectors(column)
    if len(values) < UMAP_MIN_ROWS:
        return _pca(index, column, dims)
    path = _umap_path(index, f"umap{dims}", column)
    points = read_checked(path)
    if points is not None and points.size == len(values) * dims:
        return points.view("<f4").reshape(-1, dims)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    except ImportError as error:
        raise missing_extra("map", "umap-learn") from error
    start = _pca(index, column, dims)
    start = 10 * start / max(np.abs(start).max(), 1e-9)
    # A seed needs a single thread. UMAP needs a distance, so an index with the metric dot is laid out by angle.
    metric = "euclidean" if index.field_info(column).metric == "euclidean" else "cosine"
    n_neighbors = min(15, len(values) - 1)
    reducer = umap.UMAP(n_neighbors=n_neighbors, n_components=dims, metric=metric, init=start, random_state=0, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = np.asarray(reducer.fit_transform(np.array(values)), "<f4")
    write_checked(path, points.tobytes())
    return points
