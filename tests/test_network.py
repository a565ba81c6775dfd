"""Training a whole network: it learns, early layers move less, a kill costs nothing, and each fault ends in words."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fitting
import keras
import numpy as np
import pytest
import tensorflow as tf
from fitting import CLASSES, Painted, digest, plan, task
from networks import FEATURES, SIZE, tiny_backbone, tiny_head

from storage.errors import RunError
from storage.images import model_input
from storage.runs import RunOptions
from storage.settings import Settings
from trainer.backbones.zoo import Backbone, layers_of
from trainer.calibration import best_temperature
from trainer.curve import Point
from trainer.head.losses import log_loss, log_softmax
from trainer.network.fit import Hooks, Task, Trained, train
from trainer.network.learner import Learner, Start, groups, rates
from trainer.network.plan import Plan

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}


def _child(what: str, folder: Path) -> list[str]:
    return [sys.executable, fitting.__file__, what, str(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The fit of `task()`, that nothing interrupted."""
    return train(task(), tmp_path_factory.mktemp("whole"), Hooks())


def test_network_learns(whole: Trained) -> None:
    """A tiny network learns to tell light photos from dark ones, and says how it went epoch by epoch."""
    assert (whole.steps, whole.batch_size, whole.ended) == (30, 8, "every step was done")
    assert [point.at for point in whole.curve.points] == [0, 1, 2, 3, 4, 5, 6]
    best = whole.curve.points[whole.curve.best]
    assert best.validation_accuracy == 1.0
    assert (best.validation_loss or 0.0) < 0.5 * (whole.curve.points[0].validation_loss or 0.0)


def test_what_is_trained_is_the_best_epoch(whole: Trained) -> None:
    """The network that comes back gives the validation logits of the point that was best."""
    pixels = np.stack([model_input(Painted(12, seed=1).jpeg(place), SIZE) for place in range(12)])
    logits = np.asarray(whole.backbone.network(pixels, training=False)) @ whole.weights + whole.bias
    np.testing.assert_allclose(logits, whole.validation_logits, rtol=1e-4, atol=1e-4)
    best = whole.curve.points[whole.curve.best]
    logs = log_softmax(logits / np.float32(best_temperature(logits, whole.validation_labels)))
    assert log_loss(logs, whole.validation_labels) == pytest.approx(best.validation_loss, rel=1e-3)


def test_same_seed_gives_the_same_network(whole: Trained, tmp_path: Path) -> None:
    """A second fit of the same task is equal to the last bit, and one with another seed is not."""
    assert digest(train(task(), tmp_path / "same", Hooks())) == digest(whole)
    assert digest(train(task(seed=4), tmp_path / "other", Hooks())) != digest(whole)


def test_kill_costs_nothing(whole: Trained, tmp_path: Path) -> None:
    """A fit that is killed in the middle of an epoch ends with the weights of one that was not."""
    with subprocess.Popen(
        _child("alone", tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as child:
        assert child.stdout
        assert list(itertools.takewhile(lambda line: int(line) < 17, child.stdout))
        child.send_signal(signal.SIGKILL)
    started: list[int] = []
    resumed = train(task(), tmp_path, Hooks(progress=lambda step, _: started.append(step)))
    assert started[0] > 15
    assert digest(resumed) == digest(whole)
    assert resumed.curve == whole.curve


def test_fit_that_is_done_is_not_done_again(whole: Trained, tmp_path: Path) -> None:
    """Killed after its last step, a fit comes back from its last checkpoint, tells its points and learns no more."""
    train(task(), tmp_path, Hooks())
    steps: list[int] = []
    points: list[Point] = []
    again = train(task(), tmp_path, Hooks(told=points.append, progress=lambda step, _: steps.append(step)))
    assert not steps
    assert tuple(points) == whole.curve.points
    assert digest(again) == digest(whole)


@pytest.mark.parametrize("other", [{"learning_rate": 1e-3}, {"seed": 4}, {"epochs": 7}])
def test_checkpoint_of_another_plan_is_not_used(tmp_path: Path, other: dict[str, Any]) -> None:
    """A fit with another plan in the same folder begins at its first step."""
    train(task(epochs=1), tmp_path, Hooks())
    steps: list[int] = []
    train(task(**{"epochs": 1, **other}), tmp_path, Hooks(progress=lambda step, _: steps.append(step)))
    assert steps[0] == 1


def test_purpose_changes_with_the_data() -> None:
    """Checkpoints of another snapshot, or another number of classes, are of another purpose."""
    start = Start(tiny_backbone(), *tiny_head(CLASSES))
    more = Start(start.backbone, *tiny_head(CLASSES + 1))
    tasks = [Task(name, begin, Painted(4), Painted(2), plan()) for name in "ab" for begin in (start, more)]
    assert len({task.purpose for task in tasks}) == 4


@pytest.mark.parametrize("adapt", [False, True])
def test_early_layers_move_less(adapt: bool) -> None:
    """After a step each layer has moved in proportion to the rate of its group, from the pixels to the last layer.

    AdamW's first step moves every weight by the rate itself, whatever its gradient.
    """
    backbone = tiny_backbone()
    chosen = plan(layer_groups=3, rate_decay=0.1, weight_decay=0.0, warm_up=0.0, learning_rate=1e-2, adapt=adapt)
    learner = Learner(Start(backbone, *tiny_head(CLASSES)), chosen, 4, steps=1000)
    before = learner.weights
    targets = np.eye(CLASSES, dtype=np.float32)[[0, 1, 2, 0]]
    learner.step(np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8), targets)
    moved = [float(np.abs(new - old).max()) for new, old in zip(learner.weights, before, strict=True)]
    kernel, _bias, gamma, _beta, mean, _variance, second, _bias, last, _bias = moved
    assert [kernel, gamma, second, last] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2], rel=0.02)
    assert (mean > 0) == adapt  # Frozen statistics stay as they were.
    assert rates(chosen) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_groups_hold_every_layer_in_order(count: int) -> None:
    """However many the groups, together they hold everything that is learnt, from the pixels on."""
    network = tiny_backbone().network
    parts = groups(network, count)
    assert len(parts) == count
    assert [id(variable) for part in parts for variable in part] == [
        id(variable) for layer in layers_of(network) for variable in layer.trainable_variables
    ]


def test_rate_rises_and_falls(tmp_path: Path) -> None:
    """The rate of learning rises in the warm-up, is highest after it, and falls to nothing at the last step."""
    rates: list[float] = []
    task_ = task(warm_up=0.2, epochs=10)
    train(task_, tmp_path, Hooks(told=lambda point: rates.append(point.learning_rate or 0.0)))
    assert rates[0] == 0
    assert max(rates) == rates[2] == pytest.approx(1e-2)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_ends_early_with_the_best(tmp_path: Path) -> None:
    """When validation gets no better for two epochs of the second half, the fit ends, and the weights are good ones."""
    trained = train(task(learning_rate=0.5, patience=2, warm_up=0.0, epochs=20), tmp_path, Hooks())
    assert trained.ended == "2 epochs in a row brought nothing better"
    assert (trained.curve.points[trained.curve.best].validation_loss or 0.0) < 0.01
    assert 12 <= trained.curve.points[-1].at < 20


def test_time_that_is_used_up_ends_a_fit(tmp_path: Path) -> None:
    """Told to stop in the middle of an epoch, a fit looks at what it has and makes do with the best."""
    left = iter([False] * 12)
    trained = train(task(), tmp_path, Hooks(stop=lambda: next(left, True)))
    assert (trained.steps, trained.ended) == (12, "its time was used up")
    assert [point.at for point in trained.curve.points] == [0, 1, 2, 2.4]


def test_start_stays_where_nothing_is_better(tmp_path: Path) -> None:
    """A fit that only makes things worse gives back what it started from."""
    given = task(learning_rate=10.0, epochs=1)
    before = given.start.backbone.network.get_weights()
    worse = Task("s", Start(given.start.backbone, *_good_head()), given.train, given.validation, given.plan)
    trained = train(worse, tmp_path, Hooks())
    assert trained.curve.best == 0
    for new, old in zip(trained.backbone.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)


def _good_head() -> tuple[Any, Any]:
    """A last layer that is right about every photo with the network as it is."""
    network, samples = tiny_backbone().network, Painted(60, seed=5)
    pixels = np.stack([model_input(samples.jpeg(place), SIZE) for place in range(60)])
    features = np.c_[np.asarray(network(pixels, training=False)), np.ones(60)]
    table = np.linalg.lstsq(features, 20 * np.eye(CLASSES)[samples.labels], rcond=None)[0]
    return table[:-1].astype(np.float32), table[-1].astype(np.float32)


def test_without_validation_photos_the_last_is_kept(tmp_path: Path) -> None:
    """With nothing to choose by, all epochs are done and the last weights are kept."""
    given = task(patience=1)
    trained = train(Task("s", given.start, given.train, Painted(0), given.plan), tmp_path, Hooks())
    assert (trained.steps, trained.curve.best) == (30, 6)
    assert trained.validation_logits.shape == (0, CLASSES)


def test_steps_replace_epochs(tmp_path: Path) -> None:
    """A number of steps holds whatever the epochs say, as the tutorial's maximum does."""
    assert train(task(steps=7), tmp_path, Hooks()).steps == 7


def test_diverging_loss_ends_in_words(tmp_path: Path) -> None:
    """A rate that is far too high ends in an error that says what to set."""
    with pytest.raises(RunError, match="lower learning_rate under"):
        train(task(learning_rate=1e30, warm_up=0.0), tmp_path, Hooks())


class _Hungry(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types.
    """Asks for more memory than there is when it gets more than `most` photos at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def call(self, features: Any) -> Any:
        nothing = tf.numpy_function(self._eat, [features], features.dtype)
        return features + tf.stop_gradient(tf.ensure_shape(nothing, features.shape))

    def _eat(self, features: Any) -> Any:
        bytearray(2**60 if len(features) > self._most else 1)
        return np.zeros_like(features)

    def get_config(self) -> dict[str, Any]:
        return {"most": self._most}


def _hungry(most: int) -> Task:
    tiny = tiny_backbone()
    network = keras.Model(tiny.network.input, _Hungry(most)(tiny.network.output))
    backbone = Backbone("hungry", SIZE, FEATURES, "0" * 16, network)
    return Task("s", Start(backbone, *tiny_head(CLASSES)), Painted(40), Painted(12, seed=1), plan(epochs=2))


def test_batch_that_does_not_fit_is_halved_and_remembered(tmp_path: Path) -> None:
    """Where eight photos at once do not fit into memory, four are tried, then two; a resumed fit knows."""
    trained = train(_hungry(2), tmp_path, Hooks())
    assert (trained.batch_size, trained.steps) == (2, 40)
    assert train(_hungry(2), tmp_path, Hooks()).batch_size == 2


def test_memory_that_never_suffices_ends_in_words(tmp_path: Path) -> None:
    """After the second halving the run ends with what to set."""
    with pytest.raises(RunError, match="lower batch_size under"):
        train(_hungry(1), tmp_path, Hooks())


def test_two_devices_give_what_one_does(tmp_path: Path) -> None:
    """A batch shared between two devices teaches what it teaches on one, statistics that adapt included."""
    child = subprocess.run(
        _child("on_two_devices", tmp_path / "two"), capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    one = train(task(adapt=True, epochs=1), tmp_path / "one", Hooks())
    np.testing.assert_allclose(json.loads(child.stdout), one.validation_logits, atol=0.05)


def test_scratch_learns_from_random_weights(tmp_path: Path) -> None:
    """Mode scratch starts from random weights and a last layer of zeros, with statistics that adapt, and learns."""
    options = RunOptions(mode="scratch", backbone="efficientnet_lite0", weights="", seed=0, batch_size=8, epochs=8)
    chosen = Plan.of(Settings(), options)
    assert (chosen.adapt, set(rates(chosen))) == (True, {chosen.learning_rate})
    start = Start(tiny_backbone(), np.zeros((FEATURES, CLASSES), np.float32), np.zeros(CLASSES, np.float32))
    points: list[Point] = []
    train(Task("s", start, Painted(60), Painted(12, seed=1), chosen), tmp_path, Hooks(told=points.append))
    assert points[0].validation_loss == pytest.approx(np.log(CLASSES))
    assert max(point.validation_accuracy or 0 for point in points) > 0.9


def test_half_precision_learns_and_leaves_single(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a GPU that gains from it the network computes in bfloat16, while what comes back computes in float32."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: ["a GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"compute_capability": (8, 0)})
    trained = train(task(), tmp_path, Hooks())
    assert trained.curve.points[-1].validation_accuracy == 1.0
    assert trained.backbone.network.compute_dtype == "float32"
    assert trained.weights.dtype == np.float32
    assert np.asarray(trained.backbone.network(np.zeros((1, SIZE, SIZE, 3), np.uint8))).dtype == np.float32


def _lost(_step: int, _total: int) -> None:
    raise tf.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access")


def test_lost_gpu_ends_in_words(tmp_path: Path) -> None:
    """TensorFlow's word that the GPU is gone becomes one that says where to look."""
    with pytest.raises(RunError, match="retrainbot gpu"):
        train(task(), tmp_path, Hooks(progress=_lost))
