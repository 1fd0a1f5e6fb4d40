"""The language of the code: names are nouns and verbs of the field, sentences are plain English."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = set(
    "one ones some other others it they who whom what whose such told made kept known found held asked taken looked "
    "wish thing things said seen given wanted heard shown gone drawn chosen".split()
)
PHRASES = re.compile(
    r"(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more than\b|fewer than\b|less than\b)|\bcannot be had\b|"
    r"\bof which\b|\bfor whose\b|\bso many as\b|\bthere is none\b|\bis none\b|\bwhat is told\b|\bthe one that\b"
)


def rooms() -> dict[str, list[Path]]:
    """Python files by the room of the package, or the folder of the project, that they stand in."""
    groups: dict[str, list[Path]] = {}
    for top in ("jointembed", "recipes", "tests"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if path != Path(__file__):
                groups.setdefault("/".join(parts[: 2 if len(parts) > 2 else 1]), []).append(path)
    return groups


def names(path: Path) -> list[str]:
    """Each name that a file gives to a variable, parameter, function, class or attribute, with its line."""
    given = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                given.append((name, node.lineno))
            case ast.arg(arg=name):
                given.append((name, node.lineno))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                given.append((name, node.lineno))
    given.append((path.stem, 1))
    return [f"{path}:{line} {name}" for name, line in given if name.strip("_").lower() in NAMES]


def sentences(path: Path) -> list[str]:
    """Each phrase of a comment or string that no English writer would choose, with its line."""
    parts = []
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type in kinds:
            text = " ".join(token.string.split())
            parts += [f"{path}:{token.start[0]} {match.group()}" for match in PHRASES.finditer(text)]
    return parts


@pytest.mark.parametrize("room", sorted(rooms()))
def test_names_are_nouns_and_verbs(room):
    wrong = [line for path in rooms()[room] for line in names(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", sorted(rooms()))
def test_sentences_are_plain_english(room):
    wrong = [line for path in rooms()[room] for line in sentences(path)]
    assert not wrong, "\n".join(wrong)


def test_a_pronoun_and_a_translated_sentence_would_be_found(tmp_path):
    path = tmp_path / "told.py"
    path.write_text('def found(one):\n    """This is no table."""\n')
    assert [line.rsplit(" ", 1)[1] for line in names(path)] == ["found", "one", "told"]
    assert len(sentences(path)) == 1
