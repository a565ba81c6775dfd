"""What a fit goes by: a run's options before the settings, and what suits the mode before either is asked."""

from typing import Any

import pytest

from storage.runs import RunOptions
from storage.settings import Augmentation, Mode, Network, Settings, Training
from trainer.network.plan import FULL_RATE, SCRATCH_RATE, Plan


def _plan(mode: Mode, network: dict[str, Any] | None = None, **options: Any) -> Plan:
    settings = Settings(network=Network(**network or {}), training=Training(batch_size=16))
    chosen = {"backbone": "efficientnet_lite0", "weights": "", "seed": 1, **options}
    return Plan.of(settings, RunOptions(mode=mode, **chosen))


def test_options_go_before_settings() -> None:
    """What a run was asked to do replaces what the settings say; what it leaves open does not."""
    plan = _plan("full", {"epochs": 7, "steps": 50, "learning_rate": 0.5}, epochs=3, learning_rate=0.1)
    assert (plan.epochs, plan.steps, plan.learning_rate, plan.batch_size, plan.seed) == (3, 50, 0.1, 16, 1)


@pytest.mark.parametrize(("mode", "rate"), [("full", FULL_RATE), ("scratch", SCRATCH_RATE)])
def test_each_mode_has_a_rate_of_its_own(mode: Mode, rate: float) -> None:
    """A rate of 0 is the one that suits the mode."""
    assert _plan(mode).learning_rate == rate


def test_scratch_adapts_and_treats_layers_alike() -> None:
    """From random weights no layer knows more than another, and statistics have to be learnt, whatever is set."""
    plan = _plan("scratch", {"layer_groups": 5, "rate_decay": 0.1, "batch_norm": "frozen"})
    assert (plan.layer_groups, plan.rate_decay, plan.adapt) == (1, 1.0, True)
    assert not _plan("full", {"batch_norm": "frozen"}).adapt


def test_document_tells_plans_apart() -> None:
    """Plans that differ in anything, down to how photos are varied, have other documents; equal ones the same."""
    varied = Plan.of(
        Settings(augmentation=Augmentation(flip=False), training=Training(batch_size=16)),
        RunOptions(mode="full", backbone="efficientnet_lite0", weights="", seed=1),
    )
    plans = [_plan("full"), _plan("scratch"), _plan("full", seed=2), _plan("full", {"patience": 6}), varied]
    assert len({plan.document() for plan in plans}) == len(plans)
    assert _plan("full").document() == _plan("full").document()
