"""Synthetic products as a table: the columns id, split, text, image, audio, category and price.

    python recipes/products/prepare.py out/products

A product is drawn from a seed: its category, colour, pattern, material and size. Its text is a title of some of these
words, or of others that mean the same; its image is drawn, its shape the category's; its audio is a knock on it, whose
pitch comes from the category and the size, and whose ring from the material; its price depends on category, material
and size, give or take a tenth. Each of these cells is missing in three of ten products, but never text, image and audio
at once. Nothing is fetched, and the same `--seed` gives the same files. `--products N` makes more or fewer than 1200; a
tenth of them is `dev`, a fifth `test`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from jointembed import recipe_tools
from jointembed.errors import UsageError

RATE, SECONDS, SIDE, MISSING = 16000, 0.5, 48, 0.3
# The words of a category, the pitch of a knock on it in Hz, and what it costs.
CATEGORIES: dict[str, tuple[list[str], float, float]] = {
    "mug": (["mug", "cup"], 900, 12),
    "lamp": (["lamp", "light"], 1400, 60),
    "table": (["table", "desk"], 180, 150),
    "bottle": (["bottle", "flask"], 1100, 20),
    "box": (["box", "chest"], 260, 35),
    "bowl": (["bowl", "dish"], 700, 18),
    "stool": (["stool", "seat"], 330, 45),
    "clock": (["clock", "timepiece"], 520, 70),
}
COLOURS = {
    "red": (200, 40, 40),
    "green": (50, 150, 60),
    "blue": (50, 80, 190),
    "yellow": (230, 200, 50),
    "black": (40, 40, 40),
    "pink": (235, 140, 180),
    "brown": (130, 85, 45),
    "turquoise": (60, 190, 190),
}
PATTERNS = {"plain": ["plain", "uni"], "striped": ["striped", "stripes"], "dotted": ["dotted", "dots"]}
# The words of a material, how its partials lie over the lowest, seconds until they are faint, and what it costs.
MATERIALS: dict[str, tuple[list[str], list[float], float, float]] = {
    "wood": (["wood", "wooden"], [1, 2.6, 4.2], 0.03, 1.0),
    "metal": (["metal", "steel"], [1, 2.76, 5.4], 0.3, 1.6),
    "glass": (["glass", "crystal"], [1, 2.3, 3.9], 0.12, 1.3),
}
# The words of a size, its share of the picture, what it does to the pitch and to the price.
SIZES: dict[str, tuple[list[str], float, float, float]] = {
    "small": (["small", "little"], 0.45, 1.5, 0.7),
    "medium": (["medium", "middle"], 0.65, 1.0, 1.0),
    "large": (["large", "big"], 0.85, 0.67, 1.5),
}
FILLERS = ["new", "classic", "for the home", "gift", "modern", "quality", "design", "sale"]
KINDS = {"category": CATEGORIES, "colour": COLOURS, "pattern": PATTERNS, "material": MATERIALS, "size": SIZES}
Product = dict[str, str]


def title(product: Product, rng: np.random.Generator) -> str:
    """Words of a product in any order: each attribute is left out in a tenth of the titles, and any word may join."""
    words_of_title = [
        str(rng.choice(words))
        for words in (
            CATEGORIES[product["category"]][0],
            [product["colour"]],
            PATTERNS[product["pattern"]],
            MATERIALS[product["material"]][0],
            SIZES[product["size"]][0],
        )
        if rng.random() < 0.9
    ]
    words_of_title += [str(word) for word in rng.choice(FILLERS, rng.integers(1, 3), replace=False)]
    return " ".join(str(word) for word in rng.permutation(words_of_title))


def outline(draw: ImageDraw.ImageDraw, category: str, box: tuple[float, float, float, float]) -> None:
    """The shape of a category, filled, in a box (left, top, right, bottom) of pixels."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    middle = (left + right) / 2

    def block(x0: float, y0: float, x1: float, y1: float) -> None:
        draw.rectangle((left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height), 255)

    if category == "mug":
        block(0.1, 0.1, 0.7, 1)
        draw.ellipse((left + 0.6 * width, top + 0.3 * height, right, top + 0.8 * height), outline=255, width=3)
    elif category == "lamp":
        draw.polygon([(left + 0.3 * width, top), (left + 0.7 * width, top), (right, middle - left + top),
                      (left, middle - left + top)], 255)  # fmt: skip
        block(0.45, 0.5, 0.55, 1)
    elif category == "table":
        block(0, 0.2, 1, 0.4)
        block(0.05, 0.4, 0.18, 1)
        block(0.82, 0.4, 0.95, 1)
    elif category == "bottle":
        block(0.42, 0, 0.58, 0.4)
        block(0.28, 0.35, 0.72, 1)
    elif category == "box":
        block(0, 0.2, 1, 1)
    elif category == "bowl":
        draw.pieslice((left, top - 0.4 * height, right, bottom), 0, 180, 255)
    elif category == "stool":
        block(0.15, 0.1, 0.85, 0.3)
        draw.polygon([(middle, top + 0.2 * height), (left + 0.1 * width, bottom), (right - 0.1 * width, bottom)], 255)
    else:
        draw.ellipse(box, 255)


def picture(product: Product, rng: np.random.Generator) -> Image.Image:
    """A product somewhere on a light ground, its colour a little off, with grain."""
    side = SIZES[product["size"]][1] * SIDE
    left, top = rng.uniform(0, SIDE - side, 2)
    mask = Image.new("L", (SIDE, SIDE))
    outline(ImageDraw.Draw(mask), product["category"], (left, top, left + side, top + side))
    colour = np.array(COLOURS[product["colour"]], float) + rng.normal(0, 12, 3)
    down, right = np.mgrid[:SIDE, :SIDE]
    light = {
        "plain": np.zeros((SIDE, SIDE), bool),
        "striped": (down + int(rng.integers(6))) % 6 < 2,
        "dotted": ((down + int(rng.integers(6))) % 6 < 3) & ((right + int(rng.integers(6))) % 6 < 3),
    }[product["pattern"]]
    surface = np.where(light[..., None], 0.35 * colour + 0.65 * 255, colour)
    ground = np.full(3, rng.uniform(200, 250))
    pixels = np.where(np.asarray(mask)[..., None] > 0, surface, ground) + rng.normal(0, 6, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def knock(product: Product, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A knock on a product (N,), with some noise."""
    times = np.arange(int(RATE * SECONDS)) / RATE
    _, partials, ring, _ = MATERIALS[product["material"]]
    lowest = CATEGORIES[product["category"]][1] * SIZES[product["size"]][2] * rng.uniform(0.95, 1.05)
    tones = [
        np.sin(2 * np.pi * lowest * ratio * times) * np.exp(-times * (1 + number) / ring) / (1 + number)
        for number, ratio in enumerate(partials)
        if lowest * ratio < RATE / 2
    ]
    hit = rng.normal(0, 1, len(times)) * np.exp(-times / 0.004)
    sound = np.sum(tones, 0) * 0.4 + hit * 0.1 + rng.normal(0, 0.003, len(times))
    return np.asarray(sound * rng.uniform(0.5, 1), np.float32)


def make_row(name: str, seed: int, out: Path) -> recipe_tools.Row:
    """Write the files of a product, and return its row; some cells are missing."""
    rng = np.random.default_rng([seed, int(name[1:])])
    product = {kind: str(rng.choice(list(values))) for kind, values in KINDS.items()}
    cost = CATEGORIES[product["category"]][2] * MATERIALS[product["material"]][3] * SIZES[product["size"]][3]
    price = round(float(cost * np.exp(rng.normal(0, 0.1))), 2)
    row: recipe_tools.Row = {"text": title(product, rng), "category": product["category"], "price": price}
    image, sound = picture(product, rng), knock(product, rng)
    present = dict(zip(("text", "image", "audio", "category", "price"), rng.random(5) >= MISSING, strict=True))
    if not (present["text"] or present["image"] or present["audio"]):
        present[str(rng.choice(["text", "image", "audio"]))] = True
    row = {column: cell for column, cell in row.items() if present[column]}
    for column, kind in (("image", "png"), ("audio", "flac")):
        if present[column]:
            row[column] = f"{column}/{name}.{kind}"
            (out / column).mkdir(parents=True, exist_ok=True)
    if present["image"]:
        image.save(out / row["image"])
    if present["audio"]:
        soundfile.write(out / row["audio"], sound, RATE)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the table's folder")
    parser.add_argument("--products", metavar="N", type=int, default=1200, help="how many (1200)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    options = parser.parse_args()
    if options.products < 10:
        raise UsageError(f"--products {options.products}", "too few for dev and test rows", "give 10 or more")
    names = [f"p{number:05d}" for number in range(options.products)]
    ranked = sorted(names, key=recipe_tools.hash_fraction)
    dev, test = len(names) // 10, len(names) // 5
    split = dict.fromkeys(ranked[:dev], "dev") | dict.fromkeys(ranked[dev : dev + test], "test")
    recipe_tools.write_rows(
        options.out,
        [
            {"id": name, "split": split.get(name, "train"), **make_row(name, options.seed, options.out)}
            for name in names
        ],
    )


if __name__ == "__main__":
    recipe_tools.run_script(main)
