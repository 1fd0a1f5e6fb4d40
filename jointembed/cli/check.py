"""Check the health of a model's space: collapse, hubs, leakage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import UnhealthyError, UsageError

if TYPE_CHECKING:
    from ..evaluation.health import Check

MIN_ROWS = 16


def check(
    model: str,
    data: str | None = None,
    *,
    column: list[str] | None = None,
    group: str | None = None,
    rows: int = 2000,
    json_: bool = False,
    page: str | None = None,
    encoding: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Check the vectors that a model gives: a line for each check, with its number, its thresholds and a verdict.

    Vectors: collapse (mean cosine, effective rank, dimensions without spread), hubs and what centering or local scaling
    would change, uniformity, duplicates. Pairs that the model was trained on: the gap between modalities, alignment.
    Splits: cells or vectors of held-out rows that are among the training rows. The model: the same vector again, for a
    cell alone, and after a reload, to the bit. Without data, only the vocabularies of the model are checked.

    The thresholds lie between healthy and broken spaces that were made for the purpose. Exits with 1 if a check fails.

    Args:
        model: a checkpoint, or the folder of a run.
        data: a table, or an index that the model has made.
        column: a column of the model, or a field of the index; all if not given.
        group: a column of the data such as artist, whose values must not be in several splits.
        rows: the number of rows of a table to embed at most, evenly spaced.
        json_: print JSON.
        page: an .html file to write the checks into, with plots.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from pathlib import Path

    from ..data.trained import open_as_trained
    from ..files import check_writable
    from ..index.backends.connection import has_application_id
    from ..index.index import Index
    from ..indexing.health import check_index, check_table, check_vocabularies
    from ..space.device import resolve_device
    from ..training.joint_embedding import JointEmbedding
    from .console import check_matplotlib, print_json
    from .progress import status

    if rows < MIN_ROWS:
        raise UsageError("--rows", f"must be at least {MIN_ROWS}, got {rows}", "give a larger number")
    if data is None and group is not None:
        raise UsageError("--group", "it is a column of a table or an index", "give one of these too")
    if page is not None:
        check_writable(page, "a page", ".html")
        check_matplotlib()
    trained = JointEmbedding.load(model, trust or ()).to(resolve_device(device))
    space, columns = trained.space, column or ()
    with status(f"Checking {model}"):
        if data is None:
            report = check_vocabularies(space, columns, trust or ())
        elif Path(data).is_file() and has_application_id(Path(data)):
            with Index.open(data) as index:
                report = check_index(index, space, columns, group, trust or ())
        else:
            table, pairs = open_as_trained(data, model, encoding=encoding), trained.trained_pairs()
            report = check_table(table, space, pairs, columns, group, rows, trust or ())
    if not report.checks:
        wrong = "; ".join(report.notes) or "nothing in it can be checked"
        raise UsageError(model, wrong, "give a table or an index as well")
    if json_:
        print_json({"checks": list(map(_to_dict, report.checks)), "notes": report.notes})
    else:
        _print(report.checks, report.notes)
    if page is not None:
        from ..analyze.health_page import write_page

        write_page(Path(page), model, report.checks, report.notes, report.vectors)
    failed = [check for check in report.checks if check.verdict == "fail"]
    if failed:
        names = "; ".join(f"{check.subject}: {check.name} ({check.value:.4g})" for check in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        wrong = f"{len(failed)} of {len(report.checks)} checks failed: {names}{more}"
        raise UnhealthyError(model, wrong, "correct the training or the splits; each failed line tells its thresholds")


def _to_dict(check: Check) -> dict[str, Any]:
    return {
        "column": check.subject,
        "check": check.name,
        "value": check.value,
        "warn": check.warn,
        "fail": check.fail,
        "bad": "above" if check.is_high_bad else "below",
        "verdict": check.verdict,
        "note": check.note,
    }


def _print(checks: Iterable[Check], notes: Iterable[str]) -> None:
    from .console import print_table

    lines = [
        [check.verdict, check.subject, check.name, f"{check.value:.4g}", check.thresholds, check.note]
        for check in checks
    ]
    print_table(["verdict", "column", "check", "value", "thresholds", "note"], lines, right={"value"})
    for note in notes:
        print(f"\nnote: {note}")
