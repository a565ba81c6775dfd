"""A bot's side of the sandbox in plain HTTP calls, for tests."""

import io
import json
from typing import Any

import httpx
from PIL import Image

TOKEN = "123456:" + "A" * 35
URL = "http://127.0.0.1"
ADA = 1001


class BotApi:
    """One bot's plain HTTP calls."""

    def __init__(self, client: httpx.AsyncClient, token: str = TOKEN) -> None:
        self.client = client
        self.token = token

    async def ask(self, method: str, files: Any = None, **parameters: Any) -> dict[str, Any]:
        """The whole envelope, whose code must be the HTTP status."""
        data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
        response = await self.client.post(f"/bot{self.token}/{method}", data=data, files=files)
        body: dict[str, Any] = response.json()
        assert response.status_code == (200 if body["ok"] else body["error_code"])
        return body

    async def call(self, method: str, files: Any = None, **parameters: Any) -> Any:
        body = await self.ask(method, files, **parameters)
        assert body["ok"], body
        return body["result"]

    async def refusal(self, method: str, files: Any = None, **parameters: Any) -> str:
        body = await self.ask(method, files, **parameters)
        assert not body["ok"]
        return str(body["description"])


def picture(side: int = 400, shade: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), shade).save(out, "JPEG")
    return out.getvalue()
