"""Versions that a TensorFlow Serving server runs, asked by its REST API: https://www.tensorflow.org/tfx/serving/api_rest

It reads the version folders by itself, so here a version is only waited for, warmed and checked. Each request names the
version that it is for.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from serving import golden
from serving.backend import ANSWER_SECONDS, Probabilities, ServerDied, Told, check_pixels
from serving.states import State
from storage.errors import ModelError
from storage.images import Pixels
from storage.texts import Text

SIGNATURE, INPUT, OUTPUT = "serving_default", "pixels", "probabilities"
POLL_SECONDS = 0.5  # How often it is asked whether it has loaded a version.
AT_ONCE = 16  # Requests under way.
STATUS_SECONDS = 10.0
HELP = Text("docs/tensorflow-serving.md says how it has to be set up.")


class TensorFlowServing:
    """The server at `address`, such as http://localhost:8501/v1/models/retrainbot. To be closed at the end.

    A version that it does not offer within `start_timeout` seconds is refused.
    """

    def __init__(self, address: str, *, start_timeout: float = 120.0, poll: float = POLL_SECONDS) -> None:
        self._address = address
        self._start_timeout = start_timeout
        self._poll = poll
        limits = httpx.Limits(max_connections=AT_ONCE)
        self._client = httpx.AsyncClient(base_url=address, timeout=STATUS_SECONDS, limits=limits, trust_env=False)

    async def start(self, number: int, folder: Path, told: Told) -> "RemoteVersion":
        """See `serving.backend.Backend`."""
        told(State.LOADING)
        await self._wait_for(number)
        version = RemoteVersion(self._client, self._address, number, await self._signature(number))
        told(State.WARMING)
        await version.predict(np.zeros((version.input_size, version.input_size, 3), np.uint8))
        told(State.CHECKING)
        known = golden.read(folder)
        if known:
            pixels, expected = known
            golden.compare(await version.predict(pixels), expected, folder)
        return version

    def standby_memory(self) -> int:
        """See `serving.backend.Backend`."""
        return 0

    async def close(self) -> None:
        """See `serving.backend.Backend`."""
        await self._client.aclose()

    async def _wait_for(self, number: int) -> None:
        said = ""
        try:
            async with asyncio.timeout(self._start_timeout):
                while (said := await self._state(number)) != "AVAILABLE":  # noqa: ASYNC110  It tells nobody when.
                    await asyncio.sleep(self._poll)
        except TimeoutError as error:
            raise ModelError(
                "TensorFlow Serving at {address} did not offer version {number} within {timeout:g} seconds"
                " ({said}). {help}",
                address=self._address,
                number=number,
                timeout=self._start_timeout,
                said=said or Text("it does not answer"),
                help=HELP,
            ) from error

    async def _state(self, number: int) -> str:
        """AVAILABLE, or why it is not. Raises ModelError where it has failed to load the version."""
        try:
            response = await self._client.get(f"/versions/{number}")
            if response.status_code != httpx.codes.OK:
                return _error(response)
            (status,) = response.json()["model_version_status"]
            state, problem = str(status["state"]), str(status.get("status", {}).get("error_message", ""))
        except httpx.TransportError as error:
            return Text("it cannot be reached: {reason}", reason=error or type(error).__name__)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                "{address} does not answer as TensorFlow Serving does. {help}", address=self._address, help=HELP
            ) from error
        if state == "END" and problem:
            raise ModelError(
                "TensorFlow Serving cannot load version {number}: {problem}. Train again or roll back.",
                number=number,
                problem=problem,
            )
        return state

    async def _signature(self, number: int) -> tuple[int, int]:
        """The side of the pixels that the version takes, and the number of its classes."""
        try:
            response = await self._client.get(f"/versions/{number}/metadata")
            signature = response.json()["metadata"]["signature_def"]["signature_def"][SIGNATURE]
            size = int(signature["inputs"][INPUT]["tensor_shape"]["dim"][1]["size"])
            return size, int(signature["outputs"][OUTPUT]["tensor_shape"]["dim"][1]["size"])
        except (httpx.TransportError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ModelError(
                "What TensorFlow Serving says of version {number} is not what it says of a model of ours. {help}",
                number=number,
                help=HELP,
            ) from error


class RemoteVersion:
    """One version on that server; see `serving.backend.Server`. `signature` are its input size and its classes."""

    pid = None

    def __init__(self, client: httpx.AsyncClient, address: str, number: int, signature: tuple[int, int]) -> None:
        self.input_size, self.classes = signature
        self._client = client
        self._address = address
        self._number = number
        self._lost = False

    @property
    def alive(self) -> bool:
        return not self._lost

    def memory(self) -> int | None:
        return None

    async def close(self) -> None:
        self._lost = True

    async def predict(self, pixels: Pixels, timeout: float = ANSWER_SECONDS) -> Probabilities:  # noqa: ASYNC109
        """See `serving.backend.Server`."""
        check_pixels(pixels, self.input_size)
        if self._lost:
            raise ServerDied("TensorFlow Serving was lost; ask again when it is found.")
        batch = pixels if pixels.ndim == 4 else pixels[None]
        content = await asyncio.to_thread(_request, batch)
        rows = await asyncio.to_thread(self._rows, await self._post(content, timeout), len(batch))
        return rows if pixels.ndim == 4 else rows[0]

    async def _post(self, content: bytes, timeout: float) -> bytes:  # noqa: ASYNC109
        try:
            response = await self._client.post(
                f"/versions/{self._number}:predict",
                content=content,
                headers={"content-type": "application/json"},
                timeout=timeout,
            )
        except httpx.TransportError as error:
            self._lost = True
            reason = str(error) or type(error).__name__
            raise ServerDied(
                "TensorFlow Serving at {address} cannot be reached: {reason}.", address=self._address, reason=reason
            ) from error
        if response.status_code == httpx.codes.NOT_FOUND or response.is_server_error:  # It does not have it any more.
            self._lost = True
            raise ServerDied(
                "TensorFlow Serving does not answer for version {number}: {reason}.",
                number=self._number,
                reason=_error(response),
            )
        if response.status_code != httpx.codes.OK:
            raise ModelError("TensorFlow Serving refuses a photo: {reason}. {help}", reason=_error(response), help=HELP)
        return response.content

    def _rows(self, content: bytes, count: int) -> Probabilities:
        try:
            rows = np.asarray(json.loads(content)["outputs"], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError("TensorFlow Serving's answer makes no sense. {help}", help=HELP) from error
        if rows.shape != (count, self.classes):
            raise ModelError(
                "TensorFlow Serving gave values of shape {shape}, not {wanted}.",
                shape=rows.shape,
                wanted=(count, self.classes),
            )
        if not np.isfinite(rows).all():
            raise ModelError("The model gave values that are not numbers; train again or roll back.")
        return rows


def _request(batch: Pixels) -> bytes:
    """The request in column form. One photo after the other, so that other threads get their turn in between."""
    photos = ",".join(json.dumps(photo.tolist(), separators=(",", ":")) for photo in batch)
    return f'{{"signature_name":"{SIGNATURE}","inputs":[{photos}]}}'.encode()


def _error(response: httpx.Response) -> str:
    """What the server says of what went wrong."""
    try:
        content: Any = response.json()
        return str(content["error"])
    except (ValueError, KeyError, TypeError):
        return f"it answers with status {response.status_code}"
