"""Commands about training runs and the computer they run on."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from cli.context import Context
from cli.output import Bar, Output, percent
from storage.database import now
from storage.disk import Reserve, free_bytes
from storage.errors import RunError
from storage.gpus import Gpu, GpuReport, GpuReports
from storage.housekeeping import Housekeeping
from storage.runs import Run, RunOptions, RunState
from storage.servings import Servings
from storage.settings import BackboneName, Mode
from storage.slots import Slots
from storage.usage import usage, usage_line
from trainer.worker import Worker


def train(
    context: typer.Context,
    mode: Annotated[
        Mode | None, typer.Option(help="What to train: the last layer, the whole network, or a network from nothing.")
    ] = None,
    backbone: Annotated[BackboneName | None, typer.Option(help="The pretrained network.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="The same photos and seed give the same model.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Serve the result even if it is worse.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps at most, for a whole network.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often each photo is seen at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, max=1024, help="Photos a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-9, max=10, help="The highest rate of learning.")] = None,
    init_version: Annotated[
        int | None, typer.Option(min=1, help="Start from this version's network; for the whole network.")
    ] = None,
    train_dir: Annotated[Path | None, typer.Option(help="Where checkpoints are kept, and taken up again.")] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=0.01, max=10_080, metavar="MIN", help="Minutes to make do with.")
    ] = None,
) -> None:
    """Train now, in the foreground, and serve the result if it is not worse."""
    state: Context = context.obj
    whole = {"--steps": steps, "--epochs": epochs, "--learning-rate": learning_rate, "--train-dir": train_dir}
    named = [name for name, value in {**whole, "--init-version": init_version}.items() if value is not None]
    if named and (mode or state.settings.training.mode) == "head":
        print(f"{' and '.join(named)} means nothing to mode head and is passed over.", file=sys.stderr)  # noqa: T201
    options = RunOptions.from_settings(
        state.settings.training,
        mode=mode,
        backbone=backbone,
        seed=seed,
        force=force,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        init_version=init_version,
        train_dir=str(train_dir.absolute()) if train_dir else None,
        time_budget=time_budget,
    )
    if short := Reserve.of(state.settings).short():
        raise RunError("Nothing is trained: {reason}.", reason=short)
    queued, _ = state.runs.enqueue(options, _person(), join=False)
    run = _work(state, queued)
    Housekeeping(state.settings, state.database).tidy()
    if run.state != RunState.SUCCEEDED:
        raise RunError(run.message or f"Run {run.id} was {run.state}.")
    result = run.result or {}
    if not state.output.document({"run": run.id, "status": run.state.value, **result}):
        metrics = result["metrics"]
        state.output.say(
            f"Trained on {result['photos']} photos of {result['classes']} classes:"
            f" {percent(metrics.get('test_accuracy'))} of {metrics['test_photos']:.0f} test photos are right"
            f" ({percent(metrics.get('top5_accuracy'))} among the best five).\n{run.message}"
        )


def cancel(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(metavar="[RUN]", min=1, help="A run, else the one under way.")] = None,
) -> None:
    """End a training run that waits or is under way; within seconds it has ended."""
    state: Context = context.obj
    active = state.runs.active()
    if number is None and active is None:
        raise RunError("No run is under way, so there is nothing to cancel.")
    run = state.runs.cancel(number or active.id, _person())  # type: ignore[union-attr]
    if not state.output.document(describe(run)):
        state.output.say(run.message if run.final and run.message else f"Run {run.id} is being ended.")


def runs(context: typer.Context) -> None:
    """List the training runs, newest first."""
    state: Context = context.obj
    newest = state.runs.newest()
    if state.output.document([describe(run) for run in newest]):
        return
    rows = [(run.id, run.state.value, f"{run.created_at:%Y-%m-%d %H:%M}", run.requested_by, run.message or run.step)
            for run in newest]  # fmt: skip
    state.output.table(("run", "state", "asked for (UTC)", "by", "result"), rows)


def status(context: typer.Context) -> None:
    """Say what is served, what is being trained, and how much room is left."""
    state: Context = context.obj
    served, active = state.models.served(), state.runs.active()
    classes = state.photos.classes()
    free, short = free_bytes(state.settings.data), Reserve.of(state.settings).short()
    outlook = Slots(state.database).outlook(state.settings.schedule)
    content: dict[str, Any] = {
        "served": {"version": served.version, "since": served.at.isoformat(), "reason": served.reason}
        if served
        else None,
        "run": describe(active) if active else None,
        "serving": [
            {"host": host, "seconds_ago": round((now() - at).total_seconds(), 1), **report.model_dump()}
            for host, at, report in Servings(state.database).read()
        ],
        "schedule": outlook.document(),
        "photos": sum(count.photos for count in classes),
        "classes": len(classes),
        "trainers": [
            {"host": host, "seconds_ago": round((now() - at).total_seconds(), 1)}
            for host, at, _ in GpuReports(state.database).read()
        ],
        "kept": usage(state.settings),
        "disk_free_bytes": free,
        "disk_short": short is not None,
        "data": str(state.settings.data),
    }
    if state.output.document(content):
        return
    state.output.say(f"{content['photos']} photos in {len(classes)} classes, in {content['data']}")
    state.output.say(f"Serving version {served.version}: {served.reason}." if served else "No version is served yet.")
    for serving in content["serving"]:
        show_serving(state.output, serving)
    state.output.say(f"Run {active.id} is {active.state}{_step(active)}." if active else "Nothing is being trained.")
    if active and active.state is RunState.QUEUED and active.message:
        state.output.say(f"It waits: {active.message}.")
    for line in outlook.lines():
        state.output.say(line)
    for trainer in content["trainers"]:
        state.output.say(f"The trainer on {trainer['host']} was last seen {trainer['seconds_ago']} s ago.")
    state.output.say(f"{usage_line(content['kept'])}.")
    state.output.say(f"{free / 1e9:.1f} GB of disk are free.")
    if short:
        state.output.say(f"No photo is taken and no run starts: {short}.")


def show_serving(output: Output, serving: dict[str, Any]) -> None:
    """What a bot last said of its versions, for people."""
    ago = f"The bot on {serving['host']}, seen {serving['seconds_ago']} s ago"
    answering = serving["answering"]
    output.say(f"{ago}, answers with version {answering}." if answering else f"{ago}, has no version that answers.")
    for version in serving["versions"]:
        memory = f", {version['memory_bytes'] / 1e6:.0f} MB" if version["memory_bytes"] else ""
        output.say(f"  version {version['number']}: {version['state']}{memory}")
    for problem in filter(None, (serving["problem"], serving["updates"])):
        output.say(f"  {problem}")


def gpu(context: typer.Context) -> None:
    """Say what GPUs this computer has and whether TensorFlow would use them."""
    from trainer import gpu as nvml  # noqa: PLC0415  Nothing else needs NVML.

    state: Context = context.obj
    report: GpuReport = nvml.report(nvml.tensorflow_view())
    if not state.output.document(report.model_dump()):
        show_gpus(state.output, report)


def show_gpus(output: Output, report: GpuReport) -> None:
    """The report for people; what a card does not tell stays blank."""
    if report.driver:
        output.say(f"NVIDIA driver {report.driver}")
    rows = [(gpu.index, gpu.name, _memory(gpu), gpu.utilisation, gpu.temperature) for gpu in report.gpus]
    if rows:
        output.table(("GPU", "name", "memory", "busy %", "°C"), rows)
    for line in (report.problem, report.tensorflow):
        if line:
            output.say(line)


def describe(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "run": run.id,
        "state": run.state.value,
        "mode": run.options.mode,
        "backbone": run.options.backbone,
        "requested_by": run.requested_by,
        "created_at": run.created_at.isoformat(),
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "step": run.step,
        "done": run.done,
        "total": run.total,
        "message": run.message,
        "result": run.result,
    }


def _person() -> str:
    return f"command line ({os.environ.get('USER', 'unknown')})"


def _work(state: Context, queued: Run) -> Run:
    """Work the queue until `queued` has ended, or follow it where a trainer took it."""
    stop = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    previous = [signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)]
    worker = Worker(state.runs, f"{socket.gethostname()}/{os.getpid()}", state.settings.training.lease_seconds, stop)
    try:
        with state.output.progress() as bar:
            run = state.runs.get(queued.id)
            while not run.final and not stop.is_set():
                claimed = worker.claim()
                if claimed is not None:
                    worker.work(claimed, lambda seen: _show(bar, seen))
                else:
                    stop.wait(0.25)
                    _show(bar, run)
                run = state.runs.get(queued.id)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            signal.signal(number, handler)
    if run.state == RunState.RUNNING:
        raise RunError(f"Run {run.id} goes on in the trainer; `retrainbot runs` says how it ends.")
    return run if run.final else state.runs.cancel(run.id, "the keyboard")


def _show(bar: Bar, run: Run) -> None:
    if run.step:
        bar.show(run.step, run.done, run.total)


def _memory(gpu: Gpu) -> str:
    return "" if gpu.memory_total is None else f"{gpu.memory_used} of {gpu.memory_total} MiB"


def _step(run: Run) -> str:
    return f", at {run.step} {run.done}/{run.total}" if run.step else ""
