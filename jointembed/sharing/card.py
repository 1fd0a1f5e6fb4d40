"""The model card: README.md of an exported model, filled from the model and from the folder of its run."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..config import is_trusted, to_config
from ..errors import DamagedError
from ..space import checkpoint, exported
from ..space.space import Space

METRICS = "metrics.csv"
EVALUATIONS = "evaluation*.json"
MAX_SETTING = 60  # characters of a setting of a reader
SPLITS = {"train": "training", "dev": "dev", "test": "test"}
PACKAGES = "torch", "transformers", "tokenizers", "numpy"


@dataclass(frozen=True)
class About:
    """What a model card says besides what the model knows.

    Args:
        run: the folder of the run, for its metrics.csv, and for the reports that `jointembed evaluate --json` gave, if
            they are stored there as evaluation*.json.
        license: of the model, as the Hub names licences, such as apache-2.0; not stated if empty.
        name: of the model, in the commands of the card: a folder, or OWNER/NAME of the Hub.
    """

    run: Path | None = None
    license: str = ""
    name: str = "MODEL"


def make_card(content: Mapping[str, Any], space: Space, about: About) -> str:
    """The model card, in Markdown.

    Args:
        content: of a checkpoint of the model.
        space: of the model.
        about: what the model does not know.

    Raises:
        DamagedError: a report in the folder of the run cannot be read.
    """
    from huggingface_hub import ModelCardData

    header = ModelCardData(
        library_name=exported.KEY,
        license=about.license or None,
        pipeline_tag="feature-extraction",
        tags=[exported.KEY, "embeddings", "retrieval", *sorted({_kind(space, column) for column in space.columns})],
    )
    names = [*space.columns, *space.fusions]
    parts = [
        f"---\n{header.to_yaml()}\n---\n",
        f"# {_line(about.name)}\n",
        *([f"{_line(space.description)}.\n"] if space.description else []),
        f"An embedding of {', '.join(names)} in one space of {space.dim} dimensions, compared by {space.metric}.\n",
        _section("Columns", _columns(space)),
        _section("Use", _commands(space, about.name, content)),
        _section("Training", _training(content)),
        _section("Metrics", _metrics(content, about.run)),
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
    return "image" if reader.reads_files else "text" if reader.reads_text else "tabular"


def _columns(space: Space) -> str:
    rows = []
    for column in space.columns:
        encoder, reader = space.encoder(column), space.reader(column)
        order = f", read in order by {type(space.pools[column]).__name__}" if column in space.pools else ""
        size = f"{len(vocabulary):,}" if (vocabulary := reader.vocabulary()) else ""
        rows.append((column, f"`{_call(to_config(encoder.reader))}`", type(encoder).__name__ + order, size))
    rows += [(name, "a row", f"fusion of {', '.join(parts)}", "") for name, parts in space.fusions.items()]
    return _table(["column", "preprocessing", "encoder", "vocabulary"], rows)


def _call(config: Mapping[str, Any]) -> str:
    """The configuration of an object as Python writes its call, without the settings that are not given."""
    given = {name: value for name, value in config["init_args"].items() if value is not None}
    settings = ", ".join(f"{name}={value!r}"[:MAX_SETTING] for name, value in given.items())
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
    state, table = content[checkpoint.KEY], content.get(exported.TABLE, {})
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


def _metrics(content: Mapping[str, Any], run: Path | None) -> str:
    parts = [_report(path) for path in sorted(run.glob(EVALUATIONS))] if run else []
    logged = _logged_metrics(run / METRICS, content.get("global_step")) if run and (run / METRICS).is_file() else {}
    if logged:
        rows = [(name, f"{value:.4f}") for name, value in logged.items()]
        title = "Logged in training until these weights were saved, on dev rows unless the name says otherwise:"
        parts.append(f"{title}\n\n{_table(['metric', 'value'], rows)}")
    return "\n\n".join(parts) or "None were stored in the folder of the run; `jointembed evaluate` measures them."


def _report(path: Path) -> str:
    """What `jointembed evaluate --json` has printed, as a table."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for name, metric in report["metrics"].items():
            low, high, chance = (metric.get(key) for key in ("low", "high", "chance"))
            interval = "" if low is None else f"{low:.4f} - {high:.4f}"
            value = "" if metric["value"] is None else f"{metric['value']:.4f}"
            rows.append((name, value, interval, "" if chance is None else f"{chance:.4f}"))
        title = " ".join(f"{key} {report[key]}," for key in ("query", "target", "split") if report.get(key))
        counts = f"{report['queries']:,} queries, {report['pool']:,} candidates"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "write it with jointembed evaluate ... --json, or rename it"
        raise DamagedError(path, "it is not a report of an evaluation", fix) from error
    return f"{_line(title)} {counts}:\n\n" + _table(["metric", "value", "95 % interval", "chance"], rows)


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
