"""What a bot tells about itself: its name and descriptions, its commands, and the button beside the text field."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sandbox.world import Bot, World


@dataclass
class Profile:
    """`texts` by kind and language, `menus` by chat, where 0 is for all other chats."""

    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    menus: dict[int, dict[str, Any]] = field(default_factory=dict)


_profiles: WeakKeyDictionary[World, dict[int, Profile]] = WeakKeyDictionary()


def profile(world: World, bot: Bot) -> Profile:
    return _profiles.setdefault(world, {}).setdefault(bot.id, Profile())
