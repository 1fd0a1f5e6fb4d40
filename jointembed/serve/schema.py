"""The parameters and the answers of the API: FastAPI checks the first and describes both. Needs the extra `serve`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator

_MAX_ID_CHARS = 4_096


def _check_id(value: Any) -> str:
    """An id as it is. Pydantic's own `str` rejects the lone surrogates of a file name that is not UTF-8."""
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARS:
        raise ValueError(f"an id has at most {_MAX_ID_CHARS:,} characters")
    return value


Id = Annotated[str, PlainValidator(_check_id), WithJsonSchema({"type": "string", "maxLength": _MAX_ID_CHARS})]
Where = Annotated[
    str | None,
    Field(max_length=4_096, description="a condition on the columns, such as genre = 'waltz' and tempo > 120"),
]


class InfoParams(BaseModel):
    """A vector field."""

    model_config = ConfigDict(extra="forbid")
    field: str | None = Field(None, max_length=200, description="the vector field; by default the first one indexed")


class LayoutParams(InfoParams):
    """A layout of the map."""

    axes: str = Field("pca2", max_length=400, description="pca2, pca3, umap2, umap3, or numeric columns as a CSV line")
    bits: Literal["16", "32"] = Field(
        "32",
        description="32: float32; 16: uint16 steps from -1 (0) to 1 (65534), 65535 for none, (N, 2) if flat",
    )


class ColumnParams(InfoParams):
    """A metadata column."""

    name: str = Field(max_length=200, description="the name of the column")
    format: Literal["json", "packed"] = Field(
        "json", description="packed: the length of a JSON header (uint32), the header, and an array of its type"
    )


class ItemsParams(InfoParams):
    """Items at some positions."""

    position: list[int] = Field(min_length=1, max_length=200, description="a position in the layout, from 0")


class RowParams(InfoParams):
    """An item."""

    id: Id = Field(description="the id of the item")


class CoverParams(RowParams):
    """The picture of an item."""

    version: str | None = Field(
        None, max_length=200, description="the version of the index: while it is that, browsers do not ask again"
    )


class PathParams(InfoParams):
    """Two items."""

    start: Id = Field(description="the id of the first item")
    end: Id = Field(description="the id of the last item")
    n: int = Field(10, ge=2, le=1_000, description="the number of items, with both ends")
    where: Where = None


class SearchParams(InfoParams):
    """What the results are chosen by."""

    k: int = Field(10, ge=1, le=1_000, description="the number of results")
    where: Where = None
    one_per: str | None = Field(None, max_length=200, description="a column, such as artist: one result for each value")
    diversity: float = Field(0.0, ge=0, le=1, description="from 0, the nearest results, to 1, the most diverse")
    deduplicate: bool = Field(False, description="merge near-duplicates into one result")
    offset: int = Field(
        0,
        ge=0,
        le=9_000,
        description="the number of results to skip: offset=10 continues k=10 exactly while the version is the same",
    )

    @field_validator("offset")
    @classmethod
    def _check_offset(cls, offset: int, info: ValidationInfo) -> int:
        if offset and info.data.get("diversity"):  # they are chosen among candidates whose number depends on k
            raise ValueError("diverse results have no further pages; leave out diversity or offset, or increase k")
        return offset


class SimilarParams(SearchParams):
    """The items to search near."""

    id: list[Id] = Field(min_length=1, max_length=50, description="the id of an item; of several, their mean is used")
    unlike: list[Id] = Field(default_factory=list, max_length=50, description="ids of items to search away from")


class TextParams(SearchParams):
    """The words to search."""

    q: str = Field(max_length=1_000, description="the words")


class Error(BaseModel):
    """Why a request failed, in one line."""

    error: str


class Hit(BaseModel):
    """A result: the higher its score, the nearer it is."""

    id: str
    rank: int
    score: float | None
    row: dict[str, Any]
    position: int | None = Field(description="its position in the layout, if it has a vector in the field")
    audio: str | None = Field(description="the address of its sound, relative to the page")
    duplicates: list[str]


class Hits(BaseModel):
    """The results, best first, and the version of the index that they are from."""

    hits: list[Hit]
    version: str
    method: Literal["vector", "model", "text"]
    note: str | None = None


class Row(BaseModel):
    """An item, with the terms of the model's vocabulary that it is nearest to."""

    id: str
    row: dict[str, Any]
    position: int | None
    terms: list[str]
    audio: str | None
    version: str


class Item(BaseModel):
    """An item at a position of the layout."""

    id: str
    row: dict[str, Any]
    position: int
    audio: str | None


class Items(BaseModel):
    """Items, in the order of the positions that were asked for."""

    items: list[Item]
    version: str


class ColumnKind(BaseModel):
    """A metadata column."""

    name: str
    kind: Literal["category", "number", "text"]
    size: int


class Info(BaseModel):
    """A summary of the index and of one vector field."""

    name: str
    count: int
    rows: int
    version: str
    metric: str
    dim: int
    fields: list[str]
    field: str | None
    axes: list[str]
    columns: list[ColumnKind]
    title: str
    note: str
    text: Literal["none", "loading", "ready"]
    file: bool
    why: str | None = None
    queries: dict[str, dict[str, Any]]
    indexes: list[str] = Field(description="the names of all indexes of the server; the others are at ../NAME/")


class ListedIndex(BaseModel):
    """One of several indexes of a server."""

    name: str
    address: str = Field(description="the address of its page and API, relative to that of the server")
    rows: int | None = Field(description="the number of its items; null while it cannot be read")
    error: str | None = None


class Indexes(BaseModel):
    """The indexes of a server."""

    indexes: list[ListedIndex]


class ColumnValues(BaseModel):
    """One column of all items, in the order of the layout; a category has codes that index its values."""

    kind: Literal["category", "number", "text"]
    values: list[Any]
    codes: list[int | list[int]] | None = None
    version: str
