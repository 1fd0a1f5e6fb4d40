"""The browser of tests and benchmarks: that of playwright, or the Chromium of the system."""

import os
import shutil

FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
]


def launch(playwright):
    """A headless Chromium that draws in software; None without one."""
    paths = [playwright.chromium.executable_path, *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    path = next((path for path in paths if path and os.path.exists(path)), None)
    return path and playwright.chromium.launch(executable_path=path, args=FLAGS)
