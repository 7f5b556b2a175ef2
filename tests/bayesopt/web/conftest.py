"""A browser for the tests that look at the page, and pages to look at."""

import os

import pytest

from tests.bayesopt.web.browser import Browser, program
from tests.bayesopt.web.serving import served


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests; without one they are skipped, but where one is required."""
    found = program()
    if found is None:
        missing = "no Chromium on the PATH; run under scripts/with_chromium.sh (Debian: apt-get install chromium)"
        if os.environ.get("BAYESOPT_REQUIRE_CHROMIUM") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    browser = Browser(found)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    """The browser with an empty page, which complains of nothing by the end of the test."""
    chromium.complaints.clear()
    chromium.prefer("light")
    yield chromium
    chromium.call("Page.navigate", url="about:blank")
    assert chromium.complaints == []


@pytest.fixture
def page(browser):
    """Opens the page of a study in the browser."""
    running = []

    def page(study, **size):
        serving = served(study)
        running.append(serving)
        browser.open(serving.__enter__(), **size)
        return browser

    yield page
    browser.call("Page.navigate", url="about:blank")  # before the server goes: the page would complain
    for serving in running:
        serving.__exit__(None, None, None)
