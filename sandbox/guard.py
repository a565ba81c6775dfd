"""Who may talk to the sandbox: programs on this computer, and its own pages in a browser; no other site's."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """Refuses what a web page from elsewhere could send to loopback through the reader's browser.

    Where such a page's own name was made to lead here (DNS rebinding), it shows itself by the ``Host`` of its requests;
    else by their ``Origin``, or, as a picture's address brings none, by ``Sec-Fetch-Site``
    (https://www.w3.org/TR/fetch-metadata/). Anybody may link to the web chat. Programs send neither.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_welcome(Headers(scope=scope), scope["path"]):
            words = {"error": "This sandbox answers programs and pages of this computer only."}
            await JSONResponse(words, HTTPStatus.FORBIDDEN)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_welcome(headers: Mapping[str, str], path: str) -> bool:
    host = headers.get("host", "")
    own = f"http://{host}"
    site = headers.get("sec-fetch-site", "none")
    return _is_here(host) and headers.get("origin", own) == own and (site in {"none", "same-origin"} or path == "/")


def _is_here(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in HOSTS
    except ValueError:
        return False
