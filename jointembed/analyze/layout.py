"""The vectors of an index in two or three dimensions: its map.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean, missing_extra
from ..index.columns import columns, read
from ..index.index import Index
from ..index.search.memmap import iter_slices
from ..index.snapshot import cache, keep, kept

Array = npt.NDArray[Any]

_CHUNK = 8_192  # rows in float64 at once
_FEWEST = 8  # rows that UMAP can lay out


def axes(index: Index, column: str | None = None) -> list[str]:
    """What `coordinates` takes: the projections that can be had here, then the cells that are numbers."""
    umap = ["umap2", "umap3"] if importlib.util.find_spec("umap") else []
    numbers = [name for name, one in columns(index, column).items() if one.numeric and one.size > 1]
    return ["pca2", "pca3", *umap, *numbers]


def coordinates(index: Index, axes: str, column: str | None = None) -> npt.NDArray[np.float32]:
    """Where each vector of a column lies on a map: (N, 3) in [-1, 1], in the order of `Index.ids`.

    Args:
        index: the index.
        axes: `pca2` or `pca3`: principal components; `umap2` or `umap3`: UMAP, which keeps neighbours together; or two
            or three cells that are numbers, such as `year,price`, as a line of CSV.
        column: the column; by default the first one indexed.

    Returns:
        The map; z is 0 where it has two dimensions. A projection keeps its proportions, cells fill the whole range.
        A row that lacks such a cell is NaN. The same index gives the same map.

    Raises:
        UsageError: there are no such axes, or UMAP is not installed.
    """
    kind = re.fullmatch(r"(pca|umap)([23])", axes)
    if kind:
        flat = _umap if kind[1] == "umap" else _pca
        return _placed(flat(index, column, int(kind[2])), apart=False)
    names: list[str] = []
    with contextlib.suppress(csv.Error):  # it is more than one line
        names = next(csv.reader([axes]), [])
    known = [name for name, one in columns(index, column).items() if one.numeric]
    for name in names:
        if name not in known:
            raise UsageError(
                axes, f"{name} is no map and no cell of numbers", did_you_mean(name, ["pca2", "pca3", *known])
            )
    if len(names) not in (2, 3):
        raise UsageError(
            axes, "these are no axes", "use pca2, pca3, umap2, or two or three cells of numbers, such as a,b"
        )
    found = read(index, column, set(names))
    return _placed(np.array([found[name] for name in names], np.float64).T, apart=True)


def _placed(points: Array, apart: bool) -> npt.NDArray[np.float32]:
    """Points (N, 2 or 3) scaled into [-1, 1] and filled up to (N, 3); each axis by itself if `apart`."""
    placed = np.zeros((len(points), 3), np.float32)
    if not np.isfinite(points).any():
        placed[:, : points.shape[1]] = np.nan
        return placed
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    half = (high - low) / 2 if apart else np.full(points.shape[1], (high - low).max() / 2)
    inside = (points - (low + high) / 2) / np.where(half > 0, half, 1)
    placed[:, : points.shape[1]] = np.clip(inside, -1, 1)
    placed[np.isnan(placed).any(1)] = np.nan
    return placed


def _pca(index: Index, column: str | None, dims: int) -> Array:
    """The first principal components (N, dims); the largest weight of each is positive, so that its sign is settled."""
    _, values = index.vectors(column)
    count, width = values.shape
    mean = sum((part.sum(0, dtype=np.float64) for part in _parts(values)), np.zeros(width)) / max(count, 1)
    spread = np.zeros((width, width))
    for part in _parts(values):
        centred = part - mean
        spread += centred.T @ centred
    weights = np.linalg.eigh(spread)[1][:, ::-1][:, :dims]
    weights = weights * np.sign(weights[np.abs(weights).argmax(0), np.arange(weights.shape[1])])
    flat = np.zeros((count, dims))
    for rows in iter_slices(values, _CHUNK):
        flat[rows, : weights.shape[1]] = (values[rows].astype(np.float64) - mean) @ weights
    return flat


def _parts(values: npt.NDArray[np.float32]) -> Iterator[Array]:
    return (values[rows].astype(np.float64) for rows in iter_slices(values, _CHUNK))


def _umap(index: Index, column: str | None, dims: int) -> Array:
    """UMAP (McInnes and others, 2018) from the principal components on, with one seed; kept beside the index."""
    _, values = index.vectors(column)
    if len(values) < _FEWEST:
        return _pca(index, column, dims)
    path = cache(index, column or index.fields[0], f"umap{dims}")
    held = kept(path)
    if held is not None and held.size == len(values) * dims:
        return held.view("<f4").reshape(-1, dims)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    except ImportError as error:
        raise missing_extra("map", "umap-learn") from error
    start = _pca(index, column, dims)
    start = 10 * start / max(np.abs(start).max(), 1e-9)
    # One seed needs one thread; neighbours by product have no distance, so a dot index is laid out by angle.
    metric = "euclidean" if index.field_info(column)["metric"] == "euclidean" else "cosine"
    near = min(15, len(values) - 1)
    layout = umap.UMAP(n_neighbors=near, n_components=dims, metric=metric, init=start, random_state=0, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = np.asarray(layout.fit_transform(np.array(values)), "<f4")
    keep(path, flat.tobytes())
    return flat
