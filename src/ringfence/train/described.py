"""The part of the defended trainer that describes its run: what a script's training leaves in ``args.output_dir``."""

from pathlib import Path
from typing import Any

from datasets import Dataset

from ringfence.defenses import Defense
from ringfence.train import script
from ringfence.train.checkpoints import ResumableMixin
from ringfence.train.consumed import consumed
from ringfence.train.parallel import Backend


class DescribedMixin(ResumableMixin):
    """The part of :class:`~ringfence.train.mixin.DefendedTrainerMixin` that tells what it trains, and on what."""

    max_truncated = 0.1
    """the share of rows that may be cut, by trainers that cut any"""
    undescribed: tuple[str, ...] = ()
    """keys of a recipe that the trainer cannot tell of its run, each with why"""
    metadata: dict[str, Any] | None = None
    """``run.json`` of the run that this trains for; known once training begins"""
    of_script = True
    """whether it is for the trainer to leave a run folder"""
    defenses: tuple[Defense, ...]
    given_rows: tuple[Dataset | None, Dataset | None, Dataset | None]
    safe_dataset: Dataset | None
    anchor_dataset: Dataset | None
    processing_class: Any
    backend: Backend

    @property
    def told(self) -> tuple[str, ...]:
        """Its arguments that a recipe is told of, where they are not the default."""
        return script.TOLD

    def described(self) -> dict[str, Any]:
        """What a recipe says of how it trains, beside ``training``; here, nothing."""
        return {}

    def _train_from(self, checkpoint: Path | None, **kwargs: Any) -> Any:
        """As the parent's; a script's training leaves a run folder."""
        if self.of_script:
            self.metadata = script.begin(self, resumed=checkpoint is not None)
        output = super()._train_from(checkpoint, **kwargs)
        if self.of_script:
            script.end(self)
        return output

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # called on every rank, and another one's file is half-written while it is read
            script.label(self, Path(output_dir or self.args.output_dir))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Ours is in ``args.output_dir`` when training is done; the parent's says what nobody has told it."""

    def row_counts(self) -> dict[str, dict[str, int]]:
        """Of each source, how many rows were given, cut short and dropped."""
        given = zip(("target", "safe", "anchor"), self.given_rows, strict=True)
        return {source: {"given": len(rows), "truncated": 0, "dropped": 0} for source, rows in given if rows}

    def result(self) -> dict[str, Any]:
        """What was trained on, see :func:`consumed`; ``rows`` is what there was, and what ``max_length`` took of it.

        ``ranks`` and ``backend`` are those of this training, also where it went on with another's checkpoint.
        After training also what a defense did last, under its name: ``safe_lora`` is a list of layers.
        """
        sources = {"target": self.train_dataset, "safe": self.safe_dataset}
        tokenised = {
            source: {"input_ids", "labels"} <= set(rows.column_names)
            for source, rows in sources.items()
            if rows is not None
        }
        return {
            **consumed(self.stream.counters, self.args, tokenised, self.anchor_dataset is not None),
            "ranks": self.args.world_size,
            "backend": self.backend.name,
            "seconds": self.step_seconds,
            "probe_seconds": self.probe_seconds,
            "rows": self.row_counts(),
            **self.guards.summaries(),
        }
