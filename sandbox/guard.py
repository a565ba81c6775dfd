"""Who may talk to the sandbox: programs on this computer, and its own pages in a browser; no other site's."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """Refuses what a web page from elsewhere could send to loopback through the reader's browser.

    Such a page shows itself by the ``Origin`` of its requests, or, where its own name was made to lead here (DNS
    rebinding), by the ``Host``. Programs send no origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            addresses = [f"//{headers.get('host', '')}", headers.get("origin", "//localhost")]
            if not all(_is_here(address) for address in addresses):
                words = {"error": "This sandbox answers programs and pages of this computer only."}
                await JSONResponse(words, HTTPStatus.FORBIDDEN)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_here(address: str) -> bool:
    try:
        return urlsplit(address).hostname in HOSTS
    except ValueError:
        return False
