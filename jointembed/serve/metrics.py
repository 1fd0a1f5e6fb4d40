"""Counts of requests and the state of the server, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class RequestMetrics:
    """Requests by route and status, and their seconds by route. Only the event loop may use it."""

    def __init__(self) -> None:
        self.last_request = time.monotonic()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._buckets: dict[str, list[int]] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: its route, not its address: every new name costs memory.
            status: that of the answer; 0 if there was none.
            seconds: until the end of the answer.
        """
        self.last_request = time.monotonic()
        self._counts[route, status] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds
        self._buckets.setdefault(route, [0] * (len(_BUCKETS) + 1))[bisect_left(_BUCKETS, seconds)] += 1

    def render(self) -> str:
        """The metrics of the requests that have been answered."""
        name = "jointembed_request_seconds"
        counts = [({"route": route, "status": str(status)}, n) for (route, status), n in sorted(self._counts.items())]
        lines = [render("jointembed_requests_total", "counter", "Requests answered.", counts)]
        lines.append(f"# HELP {name} Seconds until the end of an answer.\n# TYPE {name} histogram\n")
        for route, buckets in sorted(self._buckets.items()):
            for limit, total in zip([*map(str, _BUCKETS), "+Inf"], accumulate(buckets), strict=True):
                lines.append(_sample(f"{name}_bucket", {"route": route, "le": limit}, total))
            lines.append(_sample(f"{name}_sum", {"route": route}, self._seconds[route]))
            lines.append(_sample(f"{name}_count", {"route": route}, sum(buckets)))
        return "".join(lines)


def render(name: str, kind: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    """A metric with all of its samples: labels and values."""
    lines = "".join(_sample(name, labels, value) for labels, value in samples)
    return f"# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value}\n" if pairs else f"{name} {value}\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
