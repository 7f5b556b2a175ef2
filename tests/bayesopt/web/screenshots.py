"""Draws the page anew for the README: `make screenshots`, into docs/, at most 200 kB a picture."""

import sys
from pathlib import Path

import bayesopt as bo
from tests.bayesopt.web.browser import Browser, program, save
from tests.bayesopt.web.serving import served
from tests.bayesopt.web.studies import usual_study

FOLDER = Path(__file__).parents[3] / "docs"
SIZES = {"page-light.png": ("light", 1280, 1270), "page-dark.png": ("dark", 1280, 1270)}
"""Each picture: the colours, and how much of the page it shows."""
MOST_BYTES = 200_000


def main() -> int:
    """Write the pictures; the exit status."""
    chromium = program()
    if chromium is None:
        print("no Chromium on the PATH (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    print("A study of 32 trials is run first: a minute or two")
    study = usual_study(strategy=bo.strategies.PriorGuided())
    browser = Browser(chromium)
    with served(study) as address:
        for name, (scheme, width, height) in SIZES.items():
            browser.prefer(scheme)
            browser.open(address, width, height)
            browser.wait("document.getElementById('beliefs').textContent.includes('Right with probability')")
            save(browser.screenshot(whole=False), FOLDER / name)
            size = (FOLDER / name).stat().st_size
            assert size <= MOST_BYTES, f"{name} has {size} bytes"
            print(f"wrote {FOLDER / name}, {size // 1000} kB")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
