"""Serve indexes in the browser and over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def serve(
    index: list[str],
    *,
    port: int = 8765,
    host: str = "127.0.0.1",
    root: list[str] | None = None,
    token_file: str | None = None,
    root_path: str = "",
    access_log: bool = False,
    opensubsonic: bool = False,
    opensubsonic_file: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Serve an index at http://localhost:8765, to this machine only: a page, the sounds, and an API (/docs).

    Several indexes share the server: each has its page and API below /indexes/NAME, where NAME is that of its file
    (after that of its folder if files have the same name), the pages offer a choice, and /indexes lists them. Models
    that they share are loaded once.

    Lookups and full-text search are available at once; the models for words and sounds load in the background. The
    UMAP of up to 5,000 items is computed while there are no requests, and cached beside the index.

    An index that is updated, rebuilt or replaced is picked up within a second, and a missing one is waited for. SIGHUP
    opens the indexes again, retries models that could not be loaded, and reads the files of --token-file and
    --opensubsonic-file again; SIGTERM and SIGINT finish the requests under way, for up to four seconds.

    Args:
        index: the index, or several.
        port: the port to listen on; 0 for any free port.
        host: the address to listen on; addresses other than this machine's require a token.
        root: a further folder to serve sounds from, besides the indexed one.
        token_file: a file with the token that clients must send, browsers once as ?token=, programs as a bearer token;
            without this file, the token is read from the environment variable JOINTEMBED_TOKEN.
        root_path: the prefix of all addresses behind a proxy, such as /songs.
        access_log: print each request on stderr, in the common log format.
        opensubsonic: answer music players under /rest, in the protocol OpenSubsonic: similar songs, and paths from one
            song to another, of a single index; the user and password are in the environment variable
            JOINTEMBED_OPENSUBSONIC, as USER:PASSWORD, and the token is the API key.
        opensubsonic_file: a file with USER:PASSWORD, instead of the environment variable; turns --opensubsonic on.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..indexing.query_encoder import QueryEncoders
    from ..serve import serve as serve_index

    encoders = QueryEncoders(trust, device)
    stopped = serve_index(
        index,
        _say,
        lambda: (
            _read_token(token_file),
            _read_credentials(opensubsonic_file) if opensubsonic or opensubsonic_file else None,
        ),
        host=host,
        port=port,
        roots=root or (),
        load=encoders.load,
        root_path=root_path,
        access_log=access_log,
        precompute=True,
    )
    encoders.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if stopped:
        os._exit(128 + stopped)  # threads that load a model or read a disk cannot be stopped otherwise


def _read_token(path: str | None) -> str | None:
    """The token of a file or of the environment; on the command line, other users of the machine could read it."""
    if path is None:
        return os.environ.get("JOINTEMBED_TOKEN") or None
    return _read_secret("--token-file", path, "the token")


def _read_credentials(path: str | None) -> str:
    """The USER:PASSWORD of music players, from a file or the environment."""
    if path is not None:
        return _read_secret("--opensubsonic-file", path, "USER:PASSWORD")
    if credentials := os.environ.get("JOINTEMBED_OPENSUBSONIC"):
        return credentials
    from ..errors import UsageError

    fix = "set JOINTEMBED_OPENSUBSONIC to USER:PASSWORD, or give a file with it by --opensubsonic-file"
    raise UsageError("--opensubsonic", "music players need a user and a password", fix)


def _read_secret(option: str, path: str, content: str) -> str:
    from ..errors import UsageError
    from ..files import check_regular

    check_regular(path, is_read_once=True)
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(option, f"cannot read {path}", f"give a text file with {content}") from error


def _say(line: str) -> None:
    print(line, flush=True)
