"""What the canaries answered, for the trackers of ``report_to``: a table at each evaluation, beside its numbers.

The Trainer's own callbacks send numbers alone. A table goes where a tracker has one: in trackio and W&B as their
``Table``, in MLflow as an artifact that grows, in TensorBoard, which has none, as a table in Markdown. All others get
the numbers alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from transformers import TrainerCallback
from transformers.integrations import MLflowCallback, TensorBoardCallback, TrackioCallback, WandbCallback

NAME = "canaries"
"""of the table"""
_KEY = f"train/{NAME}"  # as the Trainer's callbacks name what they log
Rows: TypeAlias = Sequence[Mapping[str, Any]]


def send_answers(callbacks: Iterable[TrainerCallback], rows: Rows, step: int) -> None:
    """Give ``rows``, one a canary after optimizer step ``step``, to those of ``callbacks`` that take a table."""
    if not rows:
        return
    for callback in callbacks:
        for kind, send in _SENDERS.items():
            if isinstance(callback, kind):
                send(callback, rows, step)


def _to_tensorboard(callback: Any, rows: Rows, step: int) -> None:
    callback.tb_writer.add_text(_KEY, markdown(rows), step)


def _to_trackio(_: Any, rows: Rows, step: int) -> None:
    import trackio

    trackio.log({_KEY: trackio.Table(data=[dict(row) for row in rows]), "train/global_step": step})


def _to_wandb(_: Any, rows: Rows, step: int) -> None:
    import wandb

    table = wandb.Table(columns=columns(rows), data=[[row.get(name) for name in columns(rows)] for row in rows])
    wandb.log({_KEY: table, "train/global_step": step})


def _to_mlflow(_: Any, rows: Rows, step: int) -> None:
    import mlflow

    data = {"step": [step] * len(rows), **{name: [row.get(name) for row in rows] for name in columns(rows)}}
    mlflow.log_table(data, f"{NAME}.json")


_SENDERS: dict[type[TrainerCallback], Callable[[Any, Rows, int], None]] = {
    TensorBoardCallback: _to_tensorboard,
    TrackioCallback: _to_trackio,
    WandbCallback: _to_wandb,
    MLflowCallback: _to_mlflow,
}


def columns(rows: Rows) -> list[str]:
    """The names that any of ``rows`` has."""
    return list(dict.fromkeys(name for row in rows for name in row))


def markdown(rows: Rows) -> str:
    """``rows`` as a table; what an answer has of Markdown is shown as it stands."""
    names = columns(rows)
    lines = [names, ["---"] * len(names), *([_cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(_SHOWN.get(letter, letter) for letter in str(value))


_SHOWN = {
    "\n": "<br>",
    "\r": "",
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    **{letter: f"\\{letter}" for letter in r"\|`*_"},
}
"""letter -> how it is written in a cell"""
