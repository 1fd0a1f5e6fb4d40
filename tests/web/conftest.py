import os
import shutil

import pytest
from ci import skip_outside_ci

FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="session")
def browser():
    """The browser of playwright, or the Chromium of the system."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_outside_ci("playwright is not installed")
    with sync_playwright() as playwright:
        paths = [
            playwright.chromium.executable_path,
            *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
        ]
        path = next((path for path in paths if path and os.path.exists(path)), None)
        if path is None:
            skip_outside_ci("no Chromium: run `playwright install chromium`, or install chromium with apt")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
