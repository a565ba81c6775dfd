"""The bot as a process of its own, killed at random points while photos arrive: benchmarks.intake, but small."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.intake_kills import FOREVER, survive
from benchmarks.intake_stage import staged
from benchmarks.invariants import check

PHOTOS, KILLS = 30, 4
LONGEST, PATIENCE = 1.0, 90.0  # Seconds.


@pytest.mark.parametrize("copies", [1, 3])
async def test_no_photo_is_lost_or_stored_twice(tmp_path: Path, copies: int) -> None:
    """Killed again and again, with each update once or three times, the bot stores every photo once, albums whole."""
    async with staged(2, folder=tmp_path) as stage:
        if copies > 1:
            await stage.fault(method="getUpdates", copies=copies, times=FOREVER)
        survived = await survive(stage, PHOTOS, KILLS, np.random.default_rng(copies), LONGEST)
        await stage.bot.start()
        await stage.settled(PHOTOS, PATIENCE)
        await stage.bot.stop()
        assert survived.busy
        assert check(stage.settings, survived.sent).all() == []
