import re

_ADDRESS = re.compile(r"(?:(https?)://)?([^\s/?#]+)([/?#]\S*)?", re.IGNORECASE)
_PERSON = re.compile(r"tg://user/?\?id=(\d{1,18})", re.IGNORECASE)
_APP = re.compile(r"(?:tg|ton|tonsite)://\S+", re.IGNORECASE)


def kept_link(address: str) -> str | None:
    """An address in the spelling in which Telegram keeps it; None for one that it would not take.

    That is HTTP, which may go without saying, at a host with a dot in its name, or a link into Telegram's own app.
    """
    address = address.strip()
    if _APP.fullmatch(address):
        return address
    match = _ADDRESS.fullmatch(address)
    if match is None or "." not in match[2].strip("."):
        return None
    rest = match[3] or "/"
    return f"{(match[1] or 'http').lower()}://{match[2].lower()}{rest if rest.startswith('/') else f'/{rest}'}"


def linked_person(address: str) -> int | None:
    """Whose profile a link leads to, by their id; None for any other link."""
    match = _PERSON.fullmatch(address.strip())
    return int(match[1]) if match else None
