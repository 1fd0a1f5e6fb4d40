"""The figures in the READMEs of the recipes are those of the cards beside them, which `jointembed reproduce` wrote.

A figure is a link to its card, such as [.991 - .992 - .994](languages/cards/languages-bags.json#en-de): one value, or
the least, the median and the greatest of several seeds; behind it may stand the interval of the median seed.
"""

import re
from pathlib import Path

import pytest

from jointembed.cli.recipes import names, packaged_folder
from jointembed.evaluation.protocol import read_protocol
from jointembed.evaluation.reproduction import read_reproduction, spread

HOME = packaged_folder()
LINK = re.compile(r"\[([^\]]*)\]\(([\w./-]*cards/[\w-]+\.json)#([\w-]+)\)")
PAGES = [HOME / "README.md", *sorted(HOME.glob("*/README.md"))]
CARDS = sorted(HOME.glob("*/cards/*.json"))

# The recipes in the table of README.md without a card: their figures, if any, were measured by hand and nothing checks
# them.
WITHOUT_CARD = {
    "movies/next",
    "notes/audio_next",
    "genres/audio",
    "genres/captions",
    "music/words",
    "music/library",
    "movies/axes",
    "catalogue/content",
}


def read_numbers(text):
    """The numbers of a text, each with its count of decimals; a dash between spaces separates them."""
    words = [word for word in re.split(r"[\s()]+", text.replace(",", "")) if re.search(r"\d", word)]
    return [(float(word), len(word.partition(".")[2])) for word in words]


def expected_numbers(card, figure):
    """The values that a text may give for a figure of a card: of seeds, and with the interval of the median seed."""
    if figure == "baseline":
        values = sorted(card["baseline"]["values"])
        return [[values[0], values[len(values) // 2], values[-1]] if len(values) > 2 else values]
    seeds = spread(card["figures"][figure])
    parts = ["least", "median", "greatest"] if len(seeds["values"]) > 1 else ["median"]
    values = [seeds[part] for part in parts]
    return [values, [*values, seeds["low"], seeds["high"]]]


def find_wrong_figures(text, folder):
    """The figures of a page whose numbers are not those of their card."""
    wrong = []
    for label, path, figure in LINK.findall(text):
        numbers = read_numbers(label)
        matches = [
            len(numbers) == len(values)
            and all(
                value is not None and abs(value - number) <= 0.5000001 * 10**-decimals
                for (number, decimals), value in zip(numbers, values, strict=True)
            )
            for values in expected_numbers(read_reproduction(folder / path), figure)
        ]
        wrong += [] if any(matches) else [(label, path, figure)]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_figures_are_those_of_their_cards(page):
    assert not find_wrong_figures(page.read_text("utf-8"), page.parent)


def test_an_altered_number_would_be_found():
    """Each digit of each figure of the first page, changed alone."""
    text = PAGES[0].read_text("utf-8")
    digits = [at for match in LINK.finditer(text) for at in range(*match.span(1)) if text[at].isdigit()]
    assert digits
    for at in digits:
        altered = text[:at] + str((int(text[at]) + 5) % 10) + text[at + 1 :]
        assert len(find_wrong_figures(altered, HOME)) == 1, altered[at - 20 : at + 20]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_is_that_of_its_protocol_and_stands_in_the_readmes(path):
    card, protocol = read_reproduction(path), read_protocol(path.parents[1] / "protocols" / f"{path.stem}.yaml")
    assert (card["protocol"], card["recipe"]) == (protocol.name, f"{path.parents[1].name}/{protocol.recipe}")
    assert {name: figure["metric"] for name, figure in card["figures"].items()} == {
        name: figure.metric for name, figure in protocol.figures.items()
    }
    assert all(len(figure["seeds"]) >= protocol.seeds for figure in card["figures"].values())
    # What differs between seeds; the oldest cards, which do not say so, set one key. Seed 0 is the default of all keys.
    assert protocol.seeds == 1 or card.get("seed_keys", ["seed_everything"]) == protocol.seed_keys
    assert card["folds"] == protocol.folds and not [commit for commit in card["commits"] if "dirty" in commit]
    for page, figures in ((PAGES[0], [protocol.main_figure]), (path.parents[1] / "README.md", protocol.figures)):
        links = {(Path(link).name, figure) for _, link, figure in LINK.findall(page.read_text("utf-8"))}
        assert links >= {(path.name, figure) for figure in figures}, page


def test_rows_without_a_card_are_listed_here():
    """The measured cell of each row of README.md has a link to a card, or its recipe is in WITHOUT_CARD."""
    rows = [line.split(" | ") for line in PAGES[0].read_text("utf-8").splitlines() if line.startswith("| [")]
    recipes = {recipe.strip(): row for row in rows for group in re.findall(r"\[([^\]]+)\]\(\w+/README", row[0])
               for recipe in group.split(",")}  # fmt: skip
    assert set(recipes) <= set(names())
    assert {recipe for recipe, row in recipes.items() if not LINK.search(row[3])} == WITHOUT_CARD
