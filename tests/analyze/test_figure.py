"""Plots in light and dark: what stands in a figure can be read on its background."""

import warnings

import numpy as np
import pytest

from jointembed.__main__ import main
from jointembed.analyze import cluster_plot
from jointembed.analyze.figure import DARK, LIGHT, THEME, plotting, save
from jointembed.errors import UsageError


def contrast(a, b):
    """The contrast ratio of two colors by WCAG 2."""

    def luminance(color):
        channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return high / low


def read_pixels(path):
    from matplotlib.image import imread

    return (255 * imread(path)[..., :3]).round().astype(int)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_series_stand_out_from_the_background(theme):
    assert contrast(theme.text, theme.background) >= 7 and contrast(theme.muted, theme.background) >= 4.5
    least = min(contrast(color, theme.background) for color in theme.colors)
    assert least >= (5 if theme is DARK else 1.9)
    assert len(set(theme.colors)) == 7


@pytest.mark.parametrize(("name", "theme"), [("light", LIGHT), ("dark", DARK)])
def test_the_environment_chooses_the_theme_of_a_plot(name, theme, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.setenv(THEME, name)
    points = np.random.default_rng(0).normal(size=(60, 2))
    path = tmp_path / "map.png"
    cluster_plot.draw(path, points, np.arange(60) % 3 - 1, ["1 jazz", "2 rock"], "Songs", "UMAP")
    pixels = read_pixels(path)
    background = [int(theme.background[place : place + 2], 16) for place in (1, 3, 5)]
    assert (pixels[0, 0] == background).all()
    text = [int(theme.text[place : place + 2], 16) for place in (1, 3, 5)]
    assert (pixels == text).all(2).any()


def test_the_theme_of_a_figure_does_not_reach_others(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    before = dict(matplotlib.rcParams)
    with plotting(2, 1, theme=DARK) as (figure, _):
        figure.add_subplot()
        save(figure, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_theme_is_reported_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(THEME, "drak")
    assert main(["fit", "-c", "missing.yaml"]) == 2
    assert "JOINTEMBED_THEME: must be light or dark, got 'drak'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="drak"), plotting(1, 1):
        raise AssertionError("a figure was made")


def test_a_name_in_a_script_that_the_font_lacks_gives_no_warning(tmp_path):
    with plotting(2, 2) as (figure, _), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.subplots().set_title("दिल")
        save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
