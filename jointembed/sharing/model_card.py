"""The model card: README.md of an exported model, filled from the model and from the folder of its run."""

from __future__ import annotations

import csv
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..config import is_trusted, to_config
from ..errors import MismatchError, UsageError
from ..evaluation.card import FORMAT, Card
from ..space import checkpoint, model_folder
from ..space.space import Space
from .onnx_graphs import Result

METRICS = "metrics.csv"
CARD_MARK, CARD_HEAD = f'"{FORMAT}"'.encode(), 1000  # near the start of the file of an evaluation card
LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")
MAX_SETTING = 60  # characters of a setting of a reader
SPLITS = {"train": "training", "dev": "dev", "test": "test"}
PACKAGES = "torch", "transformers", "tokenizers", "numpy"


@dataclass(frozen=True)
class About:
    """What a model card says besides what the model knows.

    Args:
        run: the folder of the run, with its metrics.csv and the cards that `jointembed evaluate --card` wrote there.
        license: of the model, as the Hub names licences, such as apache-2.0; not stated if empty.
        name: of the model, in the commands of the card: a folder, or OWNER/NAME of the Hub.

    Raises:
        UsageError: the licence has another form than the names of the Hub.
    """

    run: Path | None = None
    license: str = ""
    name: str = "MODEL"

    def __post_init__(self) -> None:
        if self.license and not LICENSE.fullmatch(self.license):
            fix = "give its name on the Hub, such as apache-2.0, cc-by-4.0, mit or other"
            raise UsageError("license", f"not the name of a licence: {self.license!r}", fix)


def make_card(content: Mapping[str, Any], space: Space, about: About, graphs: Sequence[Result] = ()) -> str:
    """The model card, in Markdown.

    Args:
        content: of a checkpoint of the model.
        space: of the model.
        about: what the model does not know.
        graphs: what became of the graphs in ONNX, if there are any.

    Raises:
        DamagedError: an evaluation card in the folder of the run cannot be read.
        MismatchError: an evaluation card is that of another model.
    """
    from huggingface_hub import ModelCardData

    header = ModelCardData(
        library_name=model_folder.KEY,
        license=about.license or None,
        pipeline_tag="feature-extraction",
        tags=[model_folder.KEY, "embeddings", "retrieval", *sorted({_kind(space, column) for column in space.columns})],
    )
    names = [*space.columns, *space.fusions]
    parts = [
        f"---\n{header.to_yaml()}\n---\n",
        f"# {_line(about.name)}\n",
        *([f"{_line(space.description)}.\n"] if space.description else []),
        f"An embedding of {', '.join(names)} in one space of {space.dim} dimensions, compared by {space.metric}.\n",
        _section("Columns", _columns(space)),
        _section("Use", _commands(space, about.name, content)),
        *([_section("ONNX", _graphs(graphs))] if graphs else []),
        _section("Training", _training(content)),
        _section("Metrics", _metrics(space, content, about.run)),
        _section("Versions", _versions(space)),
        _section("Licence", about.license or "Not stated by whoever exported the model: ask before you use it."),
    ]
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}\n"


def _line(text: object) -> str:
    """A text as part of a line of Markdown."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_line, row)) + " |" for row in lines)


def _kind(space: Space, column: str) -> str:
    """What a column reads, as the Hub tags it."""
    reader = space.reader(column)
    if reader.sample_rate:
        return "audio"
    return "image" if reader.reads_images else "text" if reader.reads_text else "tabular"


def _columns(space: Space) -> str:
    rows = []
    for column in space.columns:
        encoder, reader = space.encoder(column), space.reader(column)
        order = f", read in order by {type(space.pools[column]).__name__}" if column in space.pools else ""
        size = f"{len(vocabulary):,}" if (vocabulary := reader.vocabulary()) else ""
        rows.append((column, f"`{_call(to_config(reader))}`", type(encoder).__name__ + order, size))
    rows += [(name, "a row", f"fusion of {', '.join(parts)}", "") for name, parts in space.fusions.items()]
    return _table(["column", "preprocessing", "encoder", "vocabulary"], rows)


def _call(config: Mapping[str, Any]) -> str:
    """The configuration of an object as Python writes its call, without the settings that are not given."""
    arguments = {name: value for name, value in config["init_args"].items() if value is not None}
    settings = ", ".join(f"{name}={value!r}"[:MAX_SETTING] for name, value in arguments.items())
    return f"{config['class_path'].rpartition('.')[2]}({settings})"


def _commands(space: Space, name: str, content: Mapping[str, Any]) -> str:
    packages = sorted(set(_foreign_packages(content[checkpoint.KEY])))
    trust = "".join(f" --trust {package}" for package in packages)
    argument = f", trust={packages}" if packages else ""
    sounds = next((column for column in space.columns if space.reader(column).sample_rate), None)
    folder = name.rpartition("/")[2]
    lines = [f"hf download {name} --local-dir {folder}", f"jointembed index {folder} TABLE items.index{trust}"]
    if sounds:
        lines[1] = f"jointembed index {folder} ~/Music songs.index{trust}"
    lines = lines if "/" in name else lines[1:]
    first = next(iter(space.columns))
    shell = "pip install jointembed\n" + "\n".join(lines)
    cell = "song.flac" if sounds == first else "..."
    python = (
        "from jointembed import JointEmbedding\n\n"
        f'model = JointEmbedding.from_pretrained("{name}"{argument})\n'
        f'vectors = model.space.embed("{first}", ["{cell}"])  # (1, {space.dim})'
    )
    note = "The folder holds no code and nothing pickled; its golden vectors are checked whenever it is loaded."
    return f"```bash\n{shell}\n```\n\n```python\n{python}\n```\n\n{note}"


def _graphs(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        difference = "" if result.difference is None else f"{result.difference:.1g}"
        cosine = "" if result.int8_cosine is None else f"{result.int8_cosine:.5f}"
        rows.append((result.column, difference, cosine, result.refusal))
    note = (
        "`onnx/config.json` names the graph of each column with the tensors that it takes: sounds as samples at its "
        "`sample_rate` from where they begin, images as pixels in 0 to 1 that are resized, texts and ids as token ids. "
        "`jointembed index` takes the folder `onnx` as a model, and needs no torch. "
        "Vectors were compared on the golden cells, with torch in float32."
    )
    head = ["column", "largest difference from torch", "smallest cosine of int8", "left out"]
    return f"{note}\n\n{_table(head, rows)}"


def _foreign_packages(config: Any) -> Iterator[str]:
    """The packages of the classes that a reader of the card has to trust."""
    if isinstance(config, dict):
        path = config.get("class_path")
        if isinstance(path, str) and not is_trusted(path):
            yield path.partition(".")[0]
        for value in config.values():
            yield from _foreign_packages(value)
    elif isinstance(config, list):
        for value in config:
            yield from _foreign_packages(value)


def _training(content: Mapping[str, Any]) -> str:
    state, table = content[checkpoint.KEY], content.get(model_folder.TABLE, {})
    lines = []
    if "table" in table:
        sizes = table.get("splits", {})
        counts = ", ".join(f"{sizes[split]:,} {name} rows" for split, name in SPLITS.items() if split in sizes)
        group = f", split by {_line(table['group'])}" if table.get("group") else ""
        lines.append(f"- Table: {_line(table['table'])}" + (f", {counts}{group}" if counts else ""))
    for objective in state.get("model", {}).get("init_args", {}).get("objectives", []):
        lines.append(f"- Objective: `{_call(objective)}`")
    if "global_step" in content:
        lines.append(f"- Steps: {content['global_step']:,}")
    return "\n".join(lines) or "Not trained with jointembed: the weights are those of the models named above."


def _metrics(space: Space, content: Mapping[str, Any], run: Path | None) -> str:
    parts = [*_reports(space, run)] if run else []
    logged = _logged_metrics(run / METRICS, content.get("global_step")) if run and (run / METRICS).is_file() else {}
    if logged:
        rows = [(name, f"{value:.4f}") for name, value in logged.items()]
        title = "Logged in training until these weights were saved, on dev rows unless the name says otherwise:"
        parts.append(f"{title}\n\n{_table(['metric', 'value'], rows)}")
    return "\n\n".join(parts) or "None were stored in the folder of the run; `jointembed evaluate` measures them."


def _reports(space: Space, run: Path) -> Iterator[str]:
    """The evaluation cards in a folder, each as a table."""
    for path in sorted(run.glob("*.json")):
        if CARD_MARK not in path.read_bytes()[:CARD_HEAD]:
            continue
        facts = Card.read(path).facts
        if facts["model"]["space"] != space.fingerprint:
            fix = "evaluate this model with --card, or move the card away"
            raise MismatchError(path, "it is the evaluation of another model", fix)
        rows = []
        for name, metric in facts["metrics"].items():
            interval = "" if metric["low"] is None else f"{metric['low']:.4f} - {metric['high']:.4f}"
            numbers = ["" if metric[key] is None else f"{metric[key]:.4f}" for key in ("value", "chance")]
            rows.append((name, numbers[0], interval, numbers[1]))
        question = facts["question"]
        title = ", ".join(f"{key} {_line(question[key])}" for key in ("query", "target", "split"))
        counts = f"{facts['queries']:,} queries, {facts['pool']:,} candidates"
        yield f"{title}: {counts}\n\n{_table(['metric', 'value', '95 % interval', 'chance'], rows)}"


def _logged_metrics(path: Path, step: int | None) -> dict[str, float]:
    """The last value of each metric in metrics.csv, up to the step of the weights."""
    metrics: dict[str, float] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if step is None or int(row.get("step") or 0) <= step:
                values = {name: value for name, value in row.items() if value and "/" in name}
                metrics |= {name: float(value) for name, value in values.items() if not name.startswith("train/")}
    return metrics


def _versions(space: Space) -> str:
    from .. import __version__

    rows = [("jointembed", __version__), ("Python", platform.python_version())]
    for package in PACKAGES:
        try:
            rows.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return _table(["package", "version"], rows) + f"\n\nFingerprint of the space: `{space.fingerprint}`"
