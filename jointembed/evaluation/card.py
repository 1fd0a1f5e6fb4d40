"""A card: an evaluation with all that is needed to repeat it, and to compare it with that of another model.

A card is JSON. It has no time and no path in it, so that the same command on the same machine writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import files, values
from ..errors import DamagedError, MismatchError, UsageError
from .retrieval_task import RetrievalTask
from .scores import Scores

FORMAT, VERSION = "jointembed card", 1
PACKAGES = [
    "jointembed", "torch", "torchaudio", "torchvision", "transformers", "tokenizers", "numpy", "scipy", "soundfile",
    "soxr", "av", "pillow",
]  # fmt: skip
SECTIONS = {
    **dict.fromkeys(("question", "data", "model", "seeds", "versions", "machine", "metrics"), dict),
    **{"queries": int, "pool": object, "unit": str},
}


@dataclass(frozen=True)
class Card:
    """An evaluation of a model.

    Args:
        facts: the sections of the card as plain data: `question` (the columns and rows), `data` (hashes), `model`
            (fingerprints), `seeds`, `versions`, `machine`, `queries`, `unanswerable`, `pool`, `metrics` and `unit`.
        units: (Q,) the independent unit of each query or row: its value in the column of groups; without one, the id of
            its row, and each query is a unit.
        scores: of each query or row.
        path: the file of the card, for messages.
    """

    facts: Mapping[str, Any]
    units: Sequence[str]
    scores: Scores
    path: str = "card"

    def write(self, path: str | Path) -> None:
        """Write the card whole or not at all.

        Raises:
            UsageError: the path cannot be written.
        """
        scores = self.scores
        columns = {
            "values": scores.values,
            **({} if scores.weights is None else {"weights": scores.weights}),
        }
        rows: dict[str, Any] = {
            "units": list(self.units),
            "scores": {
                **{
                    name: {metric: column.tolist() for metric, column in zip(scores.names, part.T, strict=True)}
                    for name, part in columns.items()
                },
                "exponents": None if scores.exponents is None else scores.exponents.tolist(),
            },
        }
        head = json.dumps({"format": FORMAT, "version": VERSION, **_finite(self.facts)}, ensure_ascii=False, indent=1)
        lines = [f" {json.dumps(name)}: {json.dumps(part, ensure_ascii=False)}" for name, part in rows.items()]
        text = head.removesuffix("\n}") + ",\n" + ",\n".join(lines) + "\n}\n"
        files.write(path, values.escape_surrogates(text))

    @classmethod
    def read(cls, path: str | Path) -> Card:
        """The card in a file.

        Raises:
            UsageError: the file does not exist, or is not a card.
            DamagedError: it is not complete.
            MismatchError: a newer version wrote it.
        """
        fix = "give a file that `jointembed evaluate ... --card FILE.json` wrote"
        files.check_regular(path, is_read_once=True)
        try:
            content = json.loads(Path(path).read_bytes())
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise UsageError(path, "the card does not exist", fix) from error
        except UnicodeDecodeError as error:
            raise UsageError(path, "it is not a card", fix) from error
        except (ValueError, RecursionError) as error:
            raise DamagedError(path, f"the card is not complete JSON ({error})", "evaluate the model again") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UsageError(path, "it is not a card", fix)
        if not isinstance(version := content.get("version", 0), int) or version > VERSION:
            raise MismatchError(path, "a newer version of jointembed wrote it", "pip install -U jointembed")
        try:
            parts, units = content.pop("scores"), content.pop("units")
            names = list(parts["values"])
            arrays = [
                None if (part := parts.get(key)) is None else np.array([part[name] for name in names], np.float64).T
                for key in ("values", "weights")
            ]
            exponents = None if parts["exponents"] is None else np.array(parts["exponents"], np.float64)
            whole = (
                arrays[0] is not None
                and arrays[0].shape == (len(units), len(names)) == (arrays[0] if arrays[1] is None else arrays[1]).shape
            )
            if not all(isinstance(content[name], kind) for name, kind in SECTIONS.items()) or not whole:
                raise ValueError
            if not set(names) <= content["metrics"].keys():
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(
                path, "parts of the card are missing, or not what they should be", "evaluate the model again"
            ) from error
        scores = Scores(names, np.asarray(arrays[0]), arrays[1], exponents)
        return cls(content, [str(unit) for unit in units], scores, str(path))

    def check_same_task(self, card: Card) -> None:
        """Check that another card answers the same question about the same data.

        Models that were trained on different rows may be compared: only the evaluated cells, which rows are queries
        and candidates, and what is relevant have to agree.

        Raises:
            UsageError: it does not.
        """
        first, second = self.facts["question"], card.facts["question"]
        for name in dict.fromkeys([*first, *second]):
            if name != "k" and first.get(name) != second.get(name):
                flag = f"--{name.replace('_', '-')}"
                wrong = f"{flag} is {second.get(name)}, and {first.get(name)} in {self.path}"
                raise UsageError(card.path, wrong, f"evaluate both models with the same {flag}")
        first, second = self.facts["data"], card.facts["data"]
        for name, subject in (
            ("split", "other rows are evaluated"),
            ("cells", "the cells of the evaluated rows differ"),
            ("answers", "other candidates are relevant"),
        ):
            if first.get(name) != second.get(name):
                fix = "evaluate both models with the same table and options"
                raise UsageError(card.path, f"{subject} than in {self.path} (the hashes of {name} differ)", fix)
        if list(self.units) != list(card.units):
            raise UsageError(card.path, f"its queries are not those of {self.path}", "evaluate both models again")

    def with_scores(self, scores: Scores) -> Card:
        """The card with other scores."""
        return replace(self, scores=scores)


def _finite(value: Any) -> Any:
    """Plain data with None for numbers that are not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide vectors, without importing them.

    In a clone of the repository, `commit` is that of jointembed, with `-dirty` where its files are changed.
    """
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed | ({"commit": commit} if (commit := _commit()) else {})


def _commit() -> str | None:
    """The commit of this package; None where it is not in a clone, or git is not installed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # A folder of packages may itself lie in another repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], check=True, capture_output=True)
        describe = ["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
        return subprocess.run([*git, *describe], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """The system, the processor and the number of its cores."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    return {"system": platform.system(), "processor": processor, "cores": os.cpu_count()}


def hash_cells(cells: Iterable[tuple[str, Iterable[Any]]], file_columns: Collection[str]) -> str:
    """A hash of cells, wherever they lie: of files the content counts, and not the path.

    Args:
        cells: columns with their cells.
        file_columns: the columns whose cells are paths; those of a fusion are found by the names in its dicts.
    """
    digest, contents = hashlib.sha256(), dict[str, str]()

    def content(cell: Any, is_file: bool) -> Any:
        if isinstance(cell, dict) and not values.is_content(cell):
            return {name: content(part, name in file_columns) for name, part in cell.items()}
        if is_file and isinstance(cell, list | tuple):
            return [content(part, True) for part in cell]
        if not is_file or not isinstance(cell, str | Path):
            return cell
        path = os.fsencode(cell)
        file = path if os.path.isfile(path) else files.sound_path(path)  # a track of a cue sheet has a number behind it
        text = os.fsdecode(file)
        if text not in contents:
            contents[text] = files.sha256(text)
        return contents[text] + os.fsdecode(path[len(file) :])

    for column, column_cells in cells:
        digest.update(column.encode("utf-8", "surrogatepass") + b"\0")
        keys = values.keys([content(cell, column in file_columns) for cell in column_cells])
        digest.update(keys.astype("<i8").tobytes())
    return digest.hexdigest()[:32]


def hash_answers(task: RetrievalTask) -> str:
    """A hash of the candidates that are relevant for each query, and of those that it does not rank."""
    digest = hashlib.sha256()
    for query in range(len(task.queries)):
        excluded = task.self_candidate[query : query + 1] if task.excluded is None else task.excluded[query]
        for positions in (task.relevant(query), task.self_candidate[query : query + 1], excluded):
            digest.update(len(positions).to_bytes(8, "little") + positions.astype("<i8").tobytes())
    return digest.hexdigest()[:32]


def hash_rows(rows: Sequence[Mapping[str, Any]], splits: Iterable[str]) -> str:
    """A hash of the rows of some splits, by their ids or else their numbers; `all` is every row."""
    digest = hashlib.sha256()
    for split in splits:
        ids = [str(row.get("id", number)) for number, row in enumerate(rows) if split in ("all", row.get("split"))]
        digest.update(json.dumps([split, ids]).encode())
    return digest.hexdigest()[:32]
