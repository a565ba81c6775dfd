"""Which shard holds which photo, so that a change costs no more than it must.

Photos that come together are one lot, which is cut into shards. As soon as there are four lots of about a size, they
become one, as in a log-structured merge tree (O'Neil and others, 1996) with tiers. A size is a power of four, and what
is merged grows to the next one at least. So where N photos came n at a time, each is written fewer than 2 + log4(N / n)
times in all.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.splits import Split
from trainer.records.manifest import Places, Records
from trainer.snapshot import SPLITS, Snapshot

SHARD_BYTES = 150_000_000
TIERS = 4
MIXED = 32  # Classes that each shard of a large lot mixes at least; a class then lies in few of its shards.
THIN = 3  # A lot whose shards hold less than one third of what they should is written anew.


@dataclass(frozen=True, eq=False)
class Part:
    """A shard to be, with the `rows` of the snapshot that it holds, by hash.

    Where a shard holds them already, `old` is its place. Where one held them and others, `bytes` is about what is left.
    """

    split: Split
    lot: int
    rows: Places
    bytes: float = 0
    old: int | None = None


@dataclass(frozen=True)
class Cut:
    """How large shards are to be; `size` tells about how many bytes some rows of the snapshot take each."""

    size: Callable[[Places], float]
    shard_bytes: int = SHARD_BYTES

    def count(self, rows: Places) -> int:
        return max(1, round(len(rows) * self.size(rows) / self.shard_bytes)) if len(rows) else 1


def plan(snapshot: Snapshot, base: Records | None, damaged: set[str], cut: Cut) -> list[Part]:
    """The shards of a snapshot, each split's together. Those of `base` that need no change are kept as they are.

    Every split has a shard, an empty one if need be, for readers that search for its files.
    """
    held = list(_held(snapshot, base, damaged)) if base else []
    new = np.ones(len(snapshot), bool)
    for part in held:
        new[part.rows] = False
    parts = []
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero(new & (snapshot.rows["split"] == number))
        parts += _planned(snapshot, split, [part for part in held if part.split == split], rows, cut)
    return parts


def _held(snapshot: Snapshot, base: Records, damaged: set[str]) -> Iterator[Part]:
    """What each shard of `base` still holds of the snapshot; those that hold nothing any more are left out."""
    places = base.find(snapshot.hashes)
    rows = np.flatnonzero(places >= 0)
    rows = rows[base.index["split"][places[rows]] == snapshot.rows["split"][rows]]
    entries = base.index[places[rows]]
    current = _current(snapshot, base)[entries["label"]] & (entries["label"] == snapshot.rows["label"][rows])
    order = np.argsort(entries["shard"], kind="stable")
    shards = base.manifest.shards
    groups = np.split(order, np.searchsorted(entries["shard"][order], np.arange(1, len(shards))))
    for number, (shard, group) in enumerate(zip(shards, groups, strict=True)):
        if len(group):
            whole = len(group) == shard.count and current[group].all() and shard.file not in damaged
            size = shard.bytes * len(group) / shard.count
            yield Part(shard.split, shard.lot, rows[group], size, number if whole else None)


def _current(snapshot: Snapshot, base: Records) -> NDArray[np.bool_]:
    """Whether each class of `base` has the name and the number that it had."""
    now = dict(enumerate(snapshot.classes))
    return np.array([now.get(number) == name for number, name in enumerate(base.manifest.classes)], bool)


def _planned(snapshot: Snapshot, split: Split, held: Sequence[Part], new: Places, cut: Cut) -> list[Part]:
    """The shards of one split: those held, then a lot of the new photos and of what they are merged with."""
    lots = defaultdict[int, list[Part]](list)
    for part in held:
        lots[part.lot].append(part)
    merged = [number for number, parts in lots.items() if _is_thin(parts, cut)] or _peers(lots, len(new))
    while merged:
        new = np.concatenate([new, *(part.rows for number in merged for part in lots.pop(number))])
        merged = _peers(lots, len(new))
    kept = [part for number in sorted(lots) for part in lots[number]]
    if kept and not len(new):
        return kept
    number = max(lots, default=-1) + 1
    return [*kept, *(Part(split, number, rows) for rows in _mixed(snapshot, new, cut.count(new)))]


def _is_thin(parts: Sequence[Part], cut: Cut) -> bool:
    return len(parts) > 1 and sum(part.bytes for part in parts) * THIN < len(parts) * cut.shard_bytes


def _peers(lots: Mapping[int, Sequence[Part]], count: int) -> list[int]:
    """The lots of about `count` photos, if there are so many that they are to be merged with these."""
    sizes = {number: sum(len(part.rows) for part in parts) for number, parts in lots.items()}
    peers = [number for number, size in sizes.items() if _tier(size) == _tier(count)]
    return peers if count and len(peers) >= TIERS - 1 else []


def _tier(count: int) -> int:
    return (count.bit_length() - 1) // 2  # The power of four, for TIERS.


def _mixed(snapshot: Snapshot, rows: Places, shards: int) -> list[Places]:
    """The rows dealt to so many shards, each class over about `shards` × MIXED / classes neighbouring ones.

    On a ring, each class has an arc that MIXED others overlap, and each photo lies somewhere in its class's arc. The
    shards are pieces of that ring. So a shard mixes many classes, and when photos of one class are deleted or
    named otherwise, few shards change.
    """
    classes, numbers = np.unique(snapshot.rows["label"][rows], return_inverse=True)
    chance = np.ascontiguousarray(snapshot.hashes[rows, -8:]).view(">u8").ravel() / 2**64
    ring = (numbers + min(MIXED, len(classes)) * chance) / max(1, len(classes)) % 1
    return [np.sort(piece) for piece in np.array_split(rows[np.argsort(ring, kind="stable")], shards)]
