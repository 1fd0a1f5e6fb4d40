"""Write the documentation as HTML pages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

GUIDES_LIST = """\
<h2>Guides</h2>
<ul>{% for name, path in guides.items() %}
  <li><a href="{{ up }}{{ path }}">{{ name }}</a></li>{% endfor %}
</ul>
"""
INDEX = f"""\
{{% extends "default/index.html.jinja2" %}}
{{% block title %}}jointembed{{% endblock %}}
{{% block nav %}}{GUIDES_LIST}{{{{ super() }}}}{{% endblock %}}
{{% block logo %}}<h1>jointembed</h1>&emsp;{{% endblock %}}
"""
GUIDE = f"""\
{{% extends "frame.html.jinja2" %}}
{{% block title %}}{{{{ title }}}}{{% endblock %}}
{{% block nav %}}<a href="{{{{ up }}}}index.html">Reference</a>{GUIDES_LIST}{{% endblock %}}
{{% block content %}}<main class="pdoc"><section class="module-info"><div class="docstring">
{{{{ body | safe }}}}
</div></section></main>{{% endblock %}}
"""
_README = re.compile(r"\]\(([^():]*?)README\.md(#[^)]*)?\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^():]*)\)")


def docs(out: str) -> None:
    """Write the documentation as HTML pages that need no network: OUT/index.html.

    The guides are the README of each folder of recipes: tutorials, how it works, parts of your own, and what was
    measured. The API reference is made of the docstrings, a page for each module with public names: classes and
    functions with their arguments, shapes and errors. Both are made by pdoc (`pip install "jointembed[docs]"`). The
    options of commands are listed by `jointembed COMMAND --help`.

    Args:
        out: the folder to write; it must not exist, or be empty.
    """
    import warnings

    from ..errors import UsageError, missing_extra
    from .progress import status

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(out, "it exists already", "give another path, or remove it")
    try:
        import jinja2
        import pdoc
    except ImportError as error:
        raise missing_extra("docs", "pdoc") from error
    import jointembed

    guides = _find_guides()
    with status("Reading docstrings ..."):
        names = sorted({getattr(jointembed, name).__module__ for name in jointembed.__all__})
    with (
        status(f"Writing {len(guides) + len(names)} pages ..."),
        warnings.catch_warnings(action="ignore"),
    ):  # of types it cannot import
        pdoc.render.configure(docformat="google", footer_text=f"jointembed {jointembed.__version__}", mermaid=False)
        environment = pdoc.render.env
        environment.loader = jinja2.ChoiceLoader(
            [jinja2.DictLoader({"index.html.jinja2": INDEX, "guide.html.jinja2": GUIDE}), environment.loader]
        )
        pages = {name: str(_place(path).with_suffix(".html")) for name, path in guides.items()}
        environment.globals |= {"guides": pages, "up": ""}
        pdoc.pdoc(*names, output_directory=folder)
        for name, path in guides.items():
            _write_guide(environment, pdoc.render_helpers.to_html, name, path, folder)
    print(f"{folder / 'index.html'}: {len(guides)} guides, and the reference of {len(names)} modules")


def _find_guides() -> dict[str, Path]:
    """The READMEs of recipes by their titles, with those that explain before those that measure."""
    from .recipes import packaged_folder

    root = packaged_folder()
    first = [root / name / "README.md" for name in ("guide", "own")]
    paths = [*first, root / "README.md", *sorted(set(root.glob("*/README.md")) - set(first))]
    return {path.read_text("utf-8").partition("\n")[0].removeprefix("# ").strip(): path for path in paths}


def _place(path: Path) -> Path:
    """Where a file of the recipes lies in the documentation."""
    from .recipes import packaged_folder

    return "recipes" / path.relative_to(packaged_folder())


def _write_guide(environment: Any, to_html: Any, title: str, source: Path, folder: Path) -> None:
    """Write a README as a page, with the cards that it links to beside it, and without pictures that are not there."""
    page = folder / _place(source).with_suffix(".html")
    page.parent.mkdir(parents=True, exist_ok=True)
    for cards in source.parent.glob("cards"):
        shutil.copytree(cards, page.parent / "cards")
    text = source.read_text("utf-8")
    for image in _IMAGE.finditer(text):
        if not (source.parent / image[1]).is_file():  # a wheel has no assets
            text = text.replace(image[0], "")
            continue
        place = page.parent / image[1]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / image[1], place)
    body = to_html(_README.sub(lambda link: f"]({link[1]}README.html{link[2] or ''})", text))
    up = "../" * (len(page.relative_to(folder).parts) - 1)
    page.write_text(
        environment.get_template("guide.html.jinja2").render(title=title, body=body, up=up), encoding="utf-8"
    )
