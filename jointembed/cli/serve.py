"""Serve an index in the browser and over HTTP."""

from __future__ import annotations

import os
import sys


def serve(
    index: str,
    *,
    port: int = 8765,
    host: str = "127.0.0.1",
    root: list[str] | None = None,
    token: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Serve an index at http://localhost:8765, to this machine only: a page, the sounds, and an API (/docs).

    Lookups and full-text search are available at once; the models for words and sounds load in the background.

    Args:
        index: the index.
        port: the port to listen on; 0 for any free port.
        host: the address to listen on; addresses other than this machine's require a token.
        root: a further folder to serve sounds from, besides the indexed one.
        token: the token that clients must send: browsers once as ?token=, programs as a bearer token.
        trust: a package whose encoders and readers the model may import.
    """
    from ..indexing.embedders import Embedders
    from ..serve import serve as serve_index

    embedders = Embedders(trust)
    stopped = serve_index(index, _say, host=host, port=port, roots=root or (), token=token, load=embedders.load)
    embedders.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if stopped:
        os._exit(128 + stopped)  # threads that load a model or read a disk cannot be stopped otherwise


def _say(line: str) -> None:
    print(line, flush=True)
