"""List the runs in a folder, with metrics and what differs."""

from __future__ import annotations

from typing import Any

MAX_SETTING_CHARACTERS = 30  # of a value in the table


def runs(folder: str, *, metric: list[str] | None = None, csv: bool = False, json_: bool = False) -> None:
    """List the runs of `jointembed fit` below a folder, such as the trials of a sweep, as one table, the best first.

    It shows the settings that are not the same in all runs, and the metrics of the epoch whose checkpoint is kept. The
    time is that between the files of a run, so it is missing or wrong in copies.

    Args:
        folder: a folder of runs, or of folders of runs.
        metric: a metric to show, as metrics.csv names it; the first sorts. By default those that choose the
            checkpoints, and dev/loss.
        csv: print CSV.
        json_: print JSON.
    """
    from pathlib import Path

    from ..analyze.runs import choose_metrics, differing_settings, read_runs, short_keys, sort_runs
    from ..errors import UsageError
    from .console import format_number, print_json, print_table
    from .progress import format_duration

    if csv and json_:
        raise UsageError("runs", "--csv and --json exclude each other", "give one of them")
    listed = read_runs(Path(folder))
    keys, metrics = differing_settings(listed), choose_metrics(listed, metric or ())
    listed = sort_runs(listed, metrics[0] if metrics else None)
    if json_:
        print_json(
            [
                {
                    "run": run.name,
                    "settings": {key: run.settings.get(key) for key in keys},
                    "metrics": {name: run.metrics.get(name) for name in metrics},
                    "epochs": run.epochs,
                    "seconds": run.seconds,
                }
                for run in listed
            ]
        )
        return
    if csv:
        rows = [
            [
                run.name,
                *(_write(run.settings.get(key)) for key in keys),
                *(run.metrics.get(name, "") for name in metrics),
            ]
            + [run.epochs, "" if run.seconds is None else round(run.seconds, 1)]
            for run in listed
        ]
        _print_csv([["run", *keys, *metrics, "epochs", "seconds"], *rows])
        return
    labels = short_keys(keys)
    table = [
        [
            run.name,
            *(_shorten(_write(run.settings.get(key))) for key in keys),
            *(format_number(run.metrics.get(name)) for name in metrics),
            str(run.epochs),
            "" if run.seconds is None else format_duration(run.seconds),
        ]
        for run in listed
    ]
    print_table(["run", *labels, *metrics, "epochs", "time"], table, right={*metrics, "epochs", "time"})
    if not keys and len(listed) > 1:
        print("\nall runs have the same settings")


def _write(value: Any) -> str:
    """A setting as YAML writes it, in one line."""
    import json

    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SETTING_CHARACTERS else text[: MAX_SETTING_CHARACTERS - 1] + "…"


def _print_csv(rows: list[list[Any]]) -> None:
    import csv
    import io

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    print(text.getvalue(), end="")
