"""Makes docs/chat.png: the web chat of a demo, after its conversation, with a photo taught and a photo asked about."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright

from demo.people import YOU

PICTURE = Path(__file__).parent / "chat.png"
SIZE = ViewportSize(width=1000, height=980)
ENDED = "Your turn"  # The demo's words after its conversation.
SECONDS = 300_000.0  # Milliseconds, for anything.


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        demo = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "demo", "--port", "0"), cwd=folder, stdout=asyncio.subprocess.PIPE
        )
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium")
                page = await browser.new_page(viewport=SIZE)
                page.set_default_timeout(SECONDS)
                await page.goto(await _address(demo))
                await _talk(page)
                await page.screenshot(path=PICTURE)
        finally:
            demo.terminate()
            await demo.communicate()


async def _address(demo: asyncio.subprocess.Process) -> str:
    """Where the demo's chat is, as soon as its conversation has ended."""
    address = ""
    assert demo.stdout
    async for line in demo.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line.decode()):
            address = found[0]
        if ENDED in line.decode():
            break
    return f"{address}/#bot=4242&person={YOU}&chat={YOU}"


async def _talk(page: Page) -> None:
    """As somebody would who has ended the tour."""
    for _ in range(await page.locator("#tour").count() * 6):
        await page.locator("#tour button", has_text=re.compile("Skip|Next|Done")).click()
    await page.locator("#samples summary").click()
    await page.get_by_role("button", name="Attach a photo: stop").nth(1).click()
    await page.locator("#text").fill("stop")
    await page.locator("#send").click()
    await page.locator(".theirs").first.wait_for()
    await page.get_by_role("button", name="Attach a photo: no entry").first.click()
    await page.locator("#samples summary").click()
    await page.locator("#send").click()
    await page.locator(".theirs").nth(1).wait_for()
    await page.locator("h1").first.hover()


if __name__ == "__main__":
    asyncio.run(main())
