"""Class names that are close enough to another one to ask “did you mean …?”."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from storage import labels

MOST = 3
SEPARATORS = re.compile(r"[_\-.+&'‘’,()\s]+")
# Scripts in which one sign is a word or a syllable: another sign is another meaning, not a slip.
DENSE = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
PLURALS = (("", "s"), ("", "es"), ("y", "ies"), ("f", "ves"), ("fe", "ves"), ("us", "i"), ("man", "men"))
SHORTEST, LONG = 5, 10  # Letters: a word from which on one wrong letter is a slip, and from which on two are.


def similar(name: str, existing: Iterable[str]) -> list[str]:
    """Up to three of the existing class names that `name` may be another spelling of, the closest first.

    Spellings that differ by case, width, separators, a plural or a slip of the finger are close. Names with different
    numbers are not, nor short words that differ by a letter: “part 1” and “part 2”, “cat” and “bat”.
    """
    wanted = _words(name)
    close = [other for other in existing if _close(wanted, _words(other))]
    return sorted(close, key=lambda other: (-_ratio("".join(wanted), "".join(_words(other))), other))[:MOST]


def _words(name: str) -> list[str]:
    plain = re.sub(r"\d+", lambda number: str(int(number[0])), labels.key(name))
    return [word for word in SEPARATORS.split(plain) if word]


def _close(words: list[str], others: list[str]) -> bool:
    whole, other = "".join(words), "".join(others)
    if whole == other:
        return True
    if abs(len(whole) - len(other)) > 2 + len(words) or _numbers(words) != _numbers(others):
        return False
    if len(words) != len(others):
        return _slip(whole, other)
    return all(map(_same, words, others))


def _numbers(words: list[str]) -> list[str]:
    return [number for word in words for number in re.findall(r"\d+", word)]


def _same(word: str, other: str) -> bool:
    return word == other or _plural(word, other) or _plural(other, word) or _slip(word, other)


def _plural(one: str, many: str) -> bool:
    return len(one) > 2 and any(one.endswith(end) and many == one.removesuffix(end) + plural for end, plural in PLURALS)


def _slip(word: str, other: str) -> bool:
    """Whether the words differ by a wrong, missing, added or swapped letter, or, if they are long, by two."""
    longer, shorter = max(len(word), len(other)), min(len(word), len(other))
    slips = 1 if longer < LONG else 2
    if longer < SHORTEST or longer - shorter > slips or DENSE.search(word + other):
        return False
    return longer - _common(word, other) <= slips


def _common(word: str, other: str) -> int:
    """How many letters the words share in their order."""
    return sum(block.size for block in SequenceMatcher(None, word, other, autojunk=False).get_matching_blocks())


def _ratio(word: str, other: str) -> float:
    return SequenceMatcher(None, word, other, autojunk=False).ratio()
