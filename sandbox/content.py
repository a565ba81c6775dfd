"""What a message is made of: formatted text, photos and documents, checked as Telegram checks them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.errors import BadRequestError
from sandbox.files import FileStore, Upload, document, photo_sizes, read_file_id
from sandbox.limits import CALLBACK_DATA, CAPTION, DOCUMENT_UPLOAD, TEXT
from sandbox.links import linked_person
from sandbox.markdown import parse_markdown, parse_markdown_v2
from sandbox.markup import find_entities, parse_html, trimmed
from sandbox.parameters import Parameters

People = Callable[[], Mapping[int, dict[str, Any]]]  # asks for Bot API Users by their ids

_MODES = {"html": parse_html, "markdownv2": parse_markdown_v2, "markdown": parse_markdown}
KINDS = ("photo", "document")
_ENTITIES = {"text": "entities", "caption": "caption_entities"}
_LOOKS = {  # parameters that show in a message, by the field that shows them
    "protect_content": "has_protected_content",
    "has_spoiler": "has_media_spoiler",
    "show_caption_above_media": "show_caption_above_media",
}


def formatted(parameters: Parameters, name: str, people: People) -> dict[str, Any]:
    """The message fields of `name` (text or caption): the text and its entities; empty where nothing is left.

    Links to profiles become mentions of `people`; those to others are dropped.
    """
    source = parameters.text(name)
    if source is None:
        return {}
    known = [_entity(item) for item in parameters.listing(_ENTITIES[name])]
    mode = (parameters.text("parse_mode") or "").lower()
    if mode:
        if mode not in _MODES:
            raise BadRequestError("unsupported parse_mode")
        source, known = _MODES[mode](source)
    return written(name, source, [entity for item in known for entity in _mentioned(item, people)])


def _mentioned(entity: dict[str, Any], people: People) -> list[dict[str, Any]]:
    """A link to a profile as a mention of that person, if known; anything else as it is."""
    person = linked_person(str(entity.get("url", "")))
    if entity["type"] == "text_mention":
        user = entity.get("user")
        person = user["id"] if isinstance(user, dict) and isinstance(user.get("id"), int) else 0
    elif person is None:
        return [entity]
    user = people().get(person)
    place = {"type": "text_mention", "offset": entity["offset"], "length": entity["length"]}
    return [place | {"user": user}] if user else []


def _entity(item: Any) -> dict[str, Any]:
    kinds = {"type": str, "offset": int, "length": int}
    if not isinstance(item, dict) or not all(isinstance(item.get(key), kind) for key, kind in kinds.items()):
        raise BadRequestError("can't parse MessageEntity: it needs a type, an offset and a length")
    return item


def written(name: str, source: str, known: list[dict[str, Any]]) -> dict[str, Any]:
    """The same for text that has its entities already. Raises BadRequestError for what is too long."""
    text, known = trimmed(source, known)
    if len(text) > (TEXT if name == "text" else CAPTION):
        raise BadRequestError("message is too long" if name == "text" else "message caption is too long")
    entities = find_entities(text, known)
    return ({name: text} if text else {}) | ({_ENTITIES[name]: entities} if entities else {})


def looks(parameters: Parameters) -> dict[str, Any]:
    """The message fields that say how it is to be shown."""
    preview = parameters.mapping("link_preview_options")
    if parameters.flag("disable_web_page_preview"):
        preview = {"is_disabled": True}
    shown = {field: True for name, field in _LOOKS.items() if parameters.flag(name)}
    return shown | ({"link_preview_options": preview} if preview else {})


def is_callback_data(data: Any) -> bool:
    """Whether it is text of 1 to 64 bytes."""
    return isinstance(data, str) and 1 <= len(data.encode(errors="replace")) <= CALLBACK_DATA


def attached(parameters: Parameters, name: str, value: Any = None) -> Upload | str:
    """What a file parameter names: the upload of that name or of ``attach://``, or a file id.

    `value` is given for files inside a nested object. Raises BadRequestError for a missing file and for an address.
    """
    source = parameters.text(name) if value is None else str(value)
    if source is None or source.startswith("attach://"):
        uploads = parameters.uploads(source.removeprefix("attach://") if source else name)
        if not uploads:
            raise BadRequestError(f"there is no {name} in the request")
        return uploads[0]
    if "://" in source:
        raise BadRequestError("this sandbox fetches no files by address; upload the file or send its file_id")
    return source


class Media:
    """Makes the photo and document fields of messages for one bot."""

    def __init__(self, store: FileStore, bot: int) -> None:
        self._store = store
        self._bot = bot

    async def field(self, kind: str, source: Upload | str) -> dict[str, Any]:
        """The message field of a ``photo`` or a ``document``. Raises BadRequestError."""
        if kind == "photo":
            return await self.photo(source)
        if kind == "document":
            return await self.document(source)
        raise BadRequestError(f"media of type {kind!r} is not supported by this sandbox; use photo or document")

    async def photo(self, source: Upload | str) -> dict[str, Any]:
        if isinstance(source, Upload):
            family = await asyncio.to_thread(self._store.add_photo, source.content)
            return {"photo": photo_sizes(self._store, self._bot, family)}
        known = self._store.photo(self._own(source))
        if known is None:
            raise BadRequestError("can't use file of type Document as Photo")
        return {"photo": photo_sizes(self._store, self._bot, known)}

    async def document(self, source: Upload | str) -> dict[str, Any]:
        if isinstance(source, Upload):
            file = await asyncio.to_thread(self._store.add_document, source)
            return {"document": document(self._store, self._bot, file)}
        known = self._store.get(self._own(source))
        if known is None or known.name is None:
            raise BadRequestError("can't use file of type Photo as Document")
        return {"document": document(self._store, self._bot, known)}

    def _own(self, file_id: str) -> str:
        unique_id = own_file(self._store, self._bot, file_id)
        if unique_id is None:
            raise BadRequestError("wrong file identifier/HTTP URL specified")
        return unique_id


def own_file(store: FileStore, bot: int, file_id: str) -> str | None:
    """The unique id of a stored file that this bot may use; None otherwise."""
    parts = read_file_id(file_id)
    if parts is None or parts[0] not in {0, bot} or store.get(parts[1]) is None:
        return None
    return parts[1]


def check_document_size(source: Upload | str) -> None:
    """Raises BadRequestError for an upload above what a bot may send."""
    if isinstance(source, Upload) and len(source.content) > DOCUMENT_UPLOAD:
        raise BadRequestError("file is too big: a bot can send at most 50 MB")
