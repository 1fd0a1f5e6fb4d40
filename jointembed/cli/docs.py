"""Write the API reference as HTML pages."""

from __future__ import annotations


def docs(out: str) -> None:
    """Write the API reference as HTML pages that need no network, from the docstrings: OUT/index.html.

    Each page is a module with public names: classes and functions with their arguments, shapes and errors. It is made
    by pdoc (`pip install "jointembed[docs]"`). The options of commands are listed by `jointembed COMMAND --help`.

    Args:
        out: the folder to write; it must not exist, or be empty.
    """
    import warnings
    from pathlib import Path

    from ..errors import UsageError, missing_extra
    from .progress import status

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(out, "it exists already", "give another path, or remove it")
    try:
        import pdoc
    except ImportError as error:
        raise missing_extra("docs", "pdoc") from error
    import jointembed

    with status("Reading docstrings ..."):
        names = sorted({getattr(jointembed, name).__module__ for name in jointembed.__all__})
    with (
        status(f"Writing {len(names)} pages ..."),
        warnings.catch_warnings(action="ignore"),
    ):  # of types it cannot import
        pdoc.render.configure(docformat="google", footer_text=f"jointembed {jointembed.__version__}", mermaid=False)
        pdoc.pdoc(*names, output_directory=folder)
    print(f"{folder / 'index.html'}: the reference of {len(names)} modules")
