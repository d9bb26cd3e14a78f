"""Training a recipe at a server into a run folder: the rows, the loop and the journals are here, the model is there.

``RUN/tinker.json`` says where the last checkpoint is at the server, and where in the rows it was made. It is written
once the server has the checkpoint. Stopped or killed, the same command goes on from there: the server gives back
weights and optimizer, and the rows that follow are those that would have followed.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase, get_scheduler

from ringfence.core.cards import model_card
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog, write_json, write_text
from ringfence.core.plain import read_json
from ringfence.core.progress import Watch
from ringfence.core.ranks import several_ranks
from ringfence.core.run_folder import (
    CANARIES_FILE,
    CARD_FILE,
    CONTROL_FILE,
    CURVE_FILE,
    JOURNALS,
    LOG_FILE,
    REMOTE_FILE,
    RESULT_FILE,
    alone_in,
    write_about,
)
from ringfence.data.cutting import Cut
from ringfence.data.render import IGNORED
from ringfence.data.system import require_possible
from ringfence.defenses import DEFENSES, Interleaving, TrainerContext
from ringfence.defenses.base import Source
from ringfence.defenses.step import TokenPenalty
from ringfence.generation.tinker import PREFIX, TinkerGenerator, asked, open_tinker, require_tinker, sdk
from ringfence.integrations.tinker.checks import Adapter, require_remote, without_effect
from ringfence.integrations.tinker.probes import at_server
from ringfence.integrations.tinker.steps import Loss, Row
from ringfence.interleave import InterleavingStream, RankLayout, Schedule
from ringfence.interleave.tally import RowCounts
from ringfence.models import load_tokenizer
from ringfence.runs.arguments import training_arguments
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.seen import require_unseen
from ringfence.runs.trainer import notes, rates_now, rendered_rows
from ringfence.train.checks import fitting, refuse_unsupported
from ringfence.train.consumed import consumed
from ringfence.train.sizes import new_stream, target_steps

logger = logging.getLogger(__name__)
OPTIMIZER = {"beta1": "adam_beta1", "beta2": "adam_beta2", "eps": "adam_epsilon", "grad_clip_norm": "max_grad_norm"}
"""the SDK's name of a setting -> that of a recipe"""


def train(plan: RunPlan, url: str, watch: Watch | None = None) -> dict[str, Any]:
    """Train ``plan`` in its folder at the server at ``url``, or go on with it; ``watch`` is told of target rows.

    Returns ``result.json``. Raises :class:`RingfenceError`, before anything is sent or written, for what a server
    cannot train, without the SDK or a key, and if the folder holds another run.
    """
    adapter = require_remote(plan.recipe)
    require_tinker(url)
    if several_ranks():
        raise RingfenceError("--tinker: one process sends all rows; start it without torchrun or accelerate launch")
    require_unseen(plan)
    (stage,) = plan.stages
    stage.require_keys()
    about = plan.claim_folder(server=f"{PREFIX}{url}")
    with alone_in(plan.out):
        if stage.result is not None:
            return stage.result
        run = _Run.of(plan, stage, watch or (lambda *_: None))
        with open_tinker(url) as service:
            run.begin(service, adapter)
            write_about(plan.out, about)
            for line in run.notes():
                logger.info(line)
            result = run.train()
            write_text(plan.out / CARD_FILE, model_card(about, result))
            write_json(plan.out / RESULT_FILE, result)
            return result


@dataclass
class _Run:
    """One run at a server."""

    plan: RunPlan
    stage: PlannedStage
    tokenizer: PreTrainedTokenizerBase
    args: Any
    target: Dataset
    safe: Dataset | None
    cuts: dict[Source, Cut]
    stream: InterleavingStream
    steps: int
    """optimizer steps of the run without safe rows"""
    rate: Callable[[float], float]
    """the learning rate at a target progress"""
    watch: Watch
    seconds: float = 0.0
    probe_seconds: float = 0.0
    _unlogged: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of(cls, plan: RunPlan, stage: PlannedStage, watch: Watch) -> "_Run":
        """All that is known before the server is asked."""
        model = stage.recipe.model
        tokenizer = load_tokenizer(model.name, trust_remote_code=model.trust_remote_code, revision=model.revision)
        require_possible(stage.recipe.no_system, tokenizer)
        args = training_arguments(stage)
        cuts: dict[Source, Cut] = {}
        target, safe = (_rows(stage, source, tokenizer, args, cuts) for source in ("target", "safe"))
        assert target is not None, "a plan has target rows"
        refuse_unsupported(args, target)
        layout = RankLayout(args.per_device_train_batch_size, args.gradient_accumulation_steps)
        interleaving = next((one for one in stage.defenses if isinstance(one, Interleaving)), None)
        schedule = Schedule(0.0, "exact")
        if interleaving is not None:
            schedule = interleaving.schedule(TrainerContext(tokenizer, stage.seed))
            schedule.probe = at_server(schedule.probe)
        counts = (RowCounts.of(target), RowCounts.of(safe) if safe is not None else None)
        rows = (len(target), len(safe) if safe is not None else 0)
        stream = new_stream(args, rows, counts, layout, interleaving, schedule)
        steps = target_steps(args, rows[0], layout)
        return cls(plan, stage, tokenizer, args, target, safe, cuts, stream, steps, _rates(args, steps), watch)

    def begin(self, service: Any, adapter: Adapter) -> None:
        """Make the model at the server, or go on from the last checkpoint."""
        recipe, path = self.stage.recipe, self.stage.folder / REMOTE_FILE
        state: dict[str, Any] = {"step": 0}
        if path.is_file():
            state = self._restored(path)
            self.client = asked(
                lambda: service.create_training_client_from_state_with_optimizer(state["checkpoint"]).result()
            )
            logger.info("%s: going on from step %d, %s", self.stage.folder, state["step"], state["checkpoint"])
        else:
            self.client = asked(
                lambda: service.create_lora_training_client(
                    base_model=recipe.model.name,
                    rank=adapter.rank,
                    seed=self.stage.seed,
                    train_mlp=adapter.mlp,
                    train_attn=adapter.attention,
                    train_unembed=False,
                ).result()
            )
        for name in JOURNALS:
            JsonlLog(self.stage.folder / name).truncate_after(state["step"])
        defenses = self.stage.defenses
        found = {DEFENSES.name_of(type(one)): one.token_penalty() for one in defenses}
        penalties: dict[str, TokenPenalty] = {name: one for name, one in found.items() if one is not None}
        compared = (recipe.reference or recipe.model).name
        reference = asked(lambda: service.create_sampling_client(base_model=compared).result()) if penalties else None
        self.loss = Loss(math.prod(one.row_weight("safe") for one in defenses), penalties, reference)

    def _restored(self, path: Path) -> dict[str, Any]:
        """The state in ``path``, put back: where the rows are, and where the weights are at the server."""
        state: Any = read_json(path, "delete it to begin anew")
        try:
            self.stream.load_state_dict(state)
            self.seconds, self.probe_seconds = state["seconds"], state["probe_seconds"]
            return {"step": int(state["step"]), "checkpoint": str(state["checkpoint"])}
        except (KeyError, TypeError, ValueError) as error:
            raise RingfenceError(
                f"{path}: is no state of a run at a server ({error}); delete it to begin anew"
            ) from error

    def notes(self) -> list[str]:
        """What the log says: what nobody would see in the recipe alone."""
        told = [f"{source}: {line}" for source, cut in self.cuts.items() if (line := cut.told())]
        unseen = without_effect(self.stage.recipe)
        said = [f"training.{key}: without effect at a server" for key in unseen]
        return [*notes(self.plan, self.stage, self.tokenizer), *told, *said]

    def train(self) -> dict[str, Any]:
        """All steps that are left; what ``result.json`` says."""
        self._tell()
        while not self.stream.finished:
            started = time.perf_counter()
            self._step()
            self._evaluate()
            self.seconds += time.perf_counter() - started
            self._journal()
            self._tell()
        trained = asked(lambda: self.client.save_weights_for_sampler("trained").result()).path
        return {
            **consumed(self.stream.counters, self.args, {}),
            "ranks": 1,
            "backend": "tinker",
            "seconds": self.seconds,
            "probe_seconds": self.probe_seconds,
            "rows": {source: cut.counts() for source, cut in self.cuts.items()},
            "trained": trained,
        }

    def _step(self) -> None:
        # As the trainer here: by the progress that the steps before have made.
        rate = self.rate(self.stream.progress)
        rows = [Row.of(one, self.target, self.safe) for one in self.stream.next_step()]
        settings = {name: getattr(self.args, key) for name, key in OPTIMIZER.items()}
        adam = sdk().types.AdamParams(learning_rate=rate, weight_decay=self.args.weight_decay, **settings)
        wait = self.loss.backward(self.client, rows, self.stream.factor)
        stepped = asked(lambda: self.client.optim_step(adam))
        self._unlogged.append({**wait(), "learning_rate": rate})
        asked(stepped.result)

    def _evaluate(self) -> None:
        """Measure risk, and the suites of ``evaluation.during``, where they are due."""
        during, step = self.stage.recipe.evaluation.during, self.stream.counters.step
        asks = self.stream.due and self.stream.probe is not None
        evaluates = during is not None and step % during.every == 0
        sampler, started = None, time.perf_counter()
        if asks or evaluates:
            sampler = asked(lambda: self.client.save_weights_and_get_sampling_client().result())
        folder = self.stage.folder
        if self.stream.due:
            risk = self.stream.probe(sampler, step) if self.stream.probe is not None else None
            row, seconds = self.stream.observe(risk), time.perf_counter() - started
            JsonlLog(folder / CONTROL_FILE).append([{"step": step, **row, "seconds": seconds}])
            if risk is not None:
                self.probe_seconds += seconds
                JsonlLog(folder / CANARIES_FILE).append({"step": step, **item} for item in risk.detail)
        if evaluates:
            rates = rates_now(self.plan, TinkerGenerator(sampler, self.tokenizer))
            JsonlLog(folder / CURVE_FILE).append({"step": step, **row} for row in rates)

    def _journal(self) -> None:
        """Log and save where they are due; what is saved is logged, since a checkpoint does not hold what is not."""
        step, finished = self.stream.counters.step, self.stream.finished
        saves = self.args.save_strategy == "steps" and step % self._every("save_steps") == 0 and not finished
        logs = step % self._every("logging_steps") == 0 or (step == 1 and self._every("logging_steps") >= self.steps)
        if saves or logs or finished:
            self._log()
        if saves:
            path = asked(lambda: self.client.save_state(f"step-{step}").result()).path
            state = {"step": step, "checkpoint": path, **self.stream.state_dict()}
            state |= {"seconds": self.seconds, "probe_seconds": self.probe_seconds}
            write_json(self.stage.folder / REMOTE_FILE, state)

    def _log(self) -> None:
        counters, rows = self.stream.counters, self._unlogged
        means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0] if key != "learning_rate"}
        row = {
            "step": counters.step,
            **means,
            "grad_norm": None,  # the server clips, and does not say at what
            "learning_rate": rows[-1]["learning_rate"],
            "epoch": counters.slots / self.stream.sizes.target,
            "progress": counters.slots / self.stream.sizes.target_budget,
            "target_rows": counters.target_rows,
            "safe_rows": counters.safe_rows,
            "ratio": self.stream.ratio,
        }
        JsonlLog(self.stage.folder / LOG_FILE).append([row])
        self._unlogged = []

    def _every(self, name: str) -> int:
        """``name`` in optimizer steps; below 1 it is a share of the target steps."""
        value = getattr(self.args, name)
        return max(1, math.ceil(value * self.steps)) if value < 1 else int(value)

    def _tell(self) -> None:
        self.watch("target rows", self.stream.counters.slots, self.stream.sizes.target_budget)


def _rows(
    stage: PlannedStage, source: Source, tokenizer: PreTrainedTokenizerBase, args: Any, cuts: dict[Source, Cut]
) -> Dataset | None:
    """Tokenised rows of ``source``, cut and dropped as TRL would; what that takes goes into ``cuts``."""
    rows = rendered_rows(stage, source, tokenizer)
    if rows is None:
        return None
    cuts[source] = cut = fitting(rows, source, args, stage.recipe.data.max_truncated)
    if not cut.truncated + cut.dropped:
        return rows
    kept = slice(-args.max_length, None) if args.truncation_mode == "keep_end" else slice(None, args.max_length)
    short = [{name: row[name][kept] for name in ("input_ids", "labels")} for row in rows]
    return Dataset.from_list([row for row in short if any(label != IGNORED for label in row["labels"])])


def _rates(args: Any, steps: int) -> Callable[[float], float]:
    """The schedule of transformers over ``steps`` target steps, as a function of target progress."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
    warmup = args.get_warmup_steps(steps)
    made = get_scheduler(args.lr_scheduler_type, optimizer, warmup, steps, args.lr_scheduler_kwargs)
    if not isinstance(made, LambdaLR):
        raise RingfenceError(f"training.lr_scheduler_type: {args.lr_scheduler_type!s} cannot follow target progress")
    at: Callable[[Any], float] = made.lr_lambdas[0]
    return lambda progress: args.learning_rate * at(progress)
