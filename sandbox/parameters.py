"""One request's parameters, whichever way they were encoded."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from sandbox.errors import BadRequestError
from sandbox.files import Upload

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Parameters:
    """Typed access to text, JSON and file parameters. Every getter raises BadRequestError for what it cannot read."""

    def __init__(self, values: Mapping[str, Any], files: list[tuple[str, Upload]]) -> None:
        self._values = values
        self._files = files

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        return _in_utf8(value if isinstance(value, str) else json.dumps(value))

    def integer(self, name: str) -> int | None:
        value = self._values.get(name)
        if value is None or value == "":
            return None
        try:
            return int(str(value))
        except ValueError as error:
            raise BadRequestError(f'parameter "{name}" must be an integer') from error

    def number(self, name: str) -> float | None:
        value = self._values.get(name)
        if value is None or value == "":
            return None
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadRequestError(f'parameter "{name}" must be a number')
        return number

    def required_integer(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise BadRequestError(f'parameter "{name}" is required')
        return value

    def flag(self, name: str) -> bool:
        return str(self._values.get(name, "")).lower() in {"true", "yes", "1"}

    def structure(self, name: str) -> Any:
        """A nested value, which forms carry as JSON; None where it is missing or empty."""
        value = self._values.get(name)
        try:
            value = json.loads(value or "null") if isinstance(value, str) else value
        except ValueError as error:
            raise BadRequestError(f"can't parse {name} JSON object") from error
        _in_utf8(json.dumps(value, ensure_ascii=False))
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """A nested object; empty where it is missing."""
        value = self.structure(name)
        if value is not None and not isinstance(value, dict):
            raise BadRequestError(f"object expected as {name}")
        return value or {}

    def listing(self, name: str) -> list[Any]:
        """A nested array; empty where it is missing."""
        value = self.structure(name)
        if value is not None and not isinstance(value, list):
            raise BadRequestError(f"expected an Array as {name}")
        return value or []

    def uploads(self, name: str) -> list[Upload]:
        """The files of that name, in the order in which they came."""
        return [upload for part, upload in self._files if part == name]


def _in_utf8(text: str) -> str:
    """The text itself. JSON escapes can spell half a character, which no answer could carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequestError("strings must be encoded in UTF-8") from error
    return text


async def read_parameters(request: Request) -> Parameters:
    """The parameters of a request; those in the body win over those in the address. Raises BadRequestError."""
    values: dict[str, Any] = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return Parameters(values | await _json_object(request), [])
    if kind not in _FORMS:
        return Parameters(values, [])
    try:
        async with request.form() as form:
            files = [(name, await _upload(file)) for name, file in _files_of(form)]
            values |= {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except HTTPException as error:
        raise BadRequestError(error.detail) from error
    except MultiPartException as error:  # So it is called outside of an application.
        raise BadRequestError(error.message) from error
    return Parameters(values, files)


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise BadRequestError("can't parse the body as JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    return body


def _files_of(form: FormData) -> Iterator[tuple[str, UploadFile]]:
    return ((name, value) for name, value in form.multi_items() if isinstance(value, UploadFile))


async def _upload(file: UploadFile) -> Upload:
    return Upload(file.filename or "file", await file.read(), file.content_type)
