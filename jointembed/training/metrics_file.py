"""metrics.csv: the logged metrics of a run, in one file however often the run was stopped and resumed."""

from __future__ import annotations

import csv
import io
import os
from itertools import islice
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from .. import files


class MetricsFile(CSVLogger):
    """Logs into FOLDER/metrics.csv. Lightning's own logger deletes what it finds there.

    Args:
        folder: the folder of the run.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version="")
        self.is_open = True  # else what is logged is not written

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log a row, unless the file is closed."""
        if self.is_open:
            super().log_metrics(metrics, step)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the file, on the first process."""
        if self._experiment is None:
            self._experiment = _MetricsWriter(self.log_dir)
        return self._experiment


class _MetricsWriter(ExperimentWriter):
    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.rows = 0  # that are in the file and belong to this run

    def _check_log_dir_exists(self) -> None:
        """Keep what is there, until there are rows of a new run, or `rewind` is called."""

    def save(self) -> None:
        """Write the metrics that are not written yet."""
        if not self.metrics:
            return
        if self._record_new_keys() or not self.rows:
            self._rewrite()
        else:
            with open(self.metrics_file_path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
        self.rows += len(self.metrics)
        self.metrics = []

    def rewind(self, rows: int) -> None:
        """Take up the file of a resumed run, with the rows that it had when its checkpoint was saved."""
        if rows and Path(self.metrics_file_path).exists():
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])
            self.rows = rows
            self.rows = self._rewrite()

    def flush(self) -> int:
        """Flush the file to the disk; return its number of rows."""
        self.save()
        if self.rows:
            with open(self.metrics_file_path, "ab") as file:
                os.fsync(file.fileno())
        return self.rows

    def _rewrite(self) -> int:
        """Write the file anew, with all columns; return the number of rows that it had."""
        old: list[dict[str, Any]] = []
        if self.rows:
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                old = list(islice(csv.DictReader(file), self.rows))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows([*old, *self.metrics])
        files.write(self.metrics_file_path, text.getvalue())
        return len(old)
