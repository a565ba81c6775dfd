"""A real browser, for the tests of the web chat."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import BrowserContext, async_playwright, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = "The browser tests need Chromium: apt-get install chromium"
SECONDS = 30_000  # Milliseconds that a page may take to show what it should.

needs_browser = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason=MISSING)
expect.set_options(timeout=SECONDS)


@asynccontextmanager
async def browsing(**options: Any) -> AsyncIterator[BrowserContext]:
    """A fresh browser, as somebody has who was never here. It has a camera, which shows a test picture."""
    assert CHROMIUM, MISSING
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=camera)
        yield await browser.new_context(**options)
        await browser.close()
