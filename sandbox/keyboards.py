"""The two families of keyboards: buttons under one message, and those in place of the person's own keyboard."""

from typing import Any

from sandbox.content import is_callback_data
from sandbox.errors import BadRequestError
from sandbox.limits import PLACEHOLDER
from sandbox.links import kept_link
from sandbox.parameters import Parameters

_ACTIONS = {
    "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
}  # fmt: skip


def inline_keyboard(parameters: Parameters) -> dict[str, Any]:
    """The message field of an inline keyboard; empty where there is none or another kind of keyboard."""
    rows = parameters.mapping("reply_markup").get("inline_keyboard")
    if not rows:
        return {}
    return {
        "reply_markup": {"inline_keyboard": [[_inline(button) for button in row] for row in _rows(rows, "inline_")]}
    }


def reply_keyboard(parameters: Parameters) -> dict[str, Any] | None:
    """A ReplyKeyboardMarkup, ReplyKeyboardRemove or ForceReply as Telegram would pass it on; None for none of them."""
    markup = parameters.mapping("reply_markup")
    if markup.get("remove_keyboard") or markup.get("force_reply"):
        return markup
    if "keyboard" not in markup:
        return None
    placeholder = markup.get("input_field_placeholder")
    if placeholder is not None and not (isinstance(placeholder, str) and 1 <= len(placeholder) <= PLACEHOLDER):
        raise BadRequestError(f"input_field_placeholder must be a text of 1 to {PLACEHOLDER} characters")
    return markup | {"keyboard": [[_plain(button) for button in row] for row in _rows(markup["keyboard"], "")]}


def _rows(rows: Any, family: str) -> list[list[Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadRequestError(f'field "{family}keyboard" must be an Array of Arrays')
    return rows


def _inline(button: Any) -> dict[str, Any]:
    if not isinstance(button, dict) or not button.get("text"):
        raise BadRequestError('can\'t parse inline keyboard button: field "text" must be of type String and not empty')
    if len(_ACTIONS & button.keys()) != 1:
        raise BadRequestError("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if "callback_data" in button and not is_callback_data(button["callback_data"]):
        raise BadRequestError("BUTTON_DATA_INVALID")
    return button | {"url": _link(str(button["url"]))} if "url" in button else button


def _link(address: str) -> str:
    url = kept_link(address)
    if url is None:
        scheme, colon, _ = address.partition("://")
        foreign = colon and scheme.lower() not in {"http", "https"}
        why = "Unsupported URL protocol" if foreign else "Wrong HTTP URL"
        raise BadRequestError(f"inline keyboard button URL '{address}' is invalid: {why}")
    return url


def _plain(button: Any) -> dict[str, Any]:
    known = {"text": button} if isinstance(button, str) else button
    if not isinstance(known, dict) or not isinstance(known.get("text"), str) or not known["text"]:
        raise BadRequestError('can\'t parse keyboard button: field "text" must be of type String and not empty')
    return known
