"""`jointembed serve`: a local server over an index, with a page to look at it."""

from __future__ import annotations

import os
import sys

from ..indexing.embedders import Embedders
from ..serve import serve as served


def serve(
    index: str,
    port: int = 8765,
    host: str = "127.0.0.1",
    root: list[str] | None = None,
    token: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Serve an index at http://localhost:8765, to this machine only: a page, its sounds, and an API (/docs).

    Look-ups and full-text search answer at once; its models, for words and sounds, load in the background.

    Args:
        index: the index.
        port: where to listen; 0 for any port that is free.
        host: the address to listen at; others than this machine must show a token.
        root: a folder that sounds may also lie in, beside the one that was indexed; may be given several times.
        token: what a client must show: the page once with ?token=, programs as a bearer.
        trust: packages whose encoders and readers the model may import.
    """
    embedders = Embedders(trust)
    stopped = served(index, _say, host=host, port=port, roots=root or (), token=token, load=embedders.load)
    embedders.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if stopped:
        os._exit(128 + stopped)  # what still loads a model or reads a disk cannot be ended otherwise


def _say(line: str) -> None:
    print(line, flush=True)
