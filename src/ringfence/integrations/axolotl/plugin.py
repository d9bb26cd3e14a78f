"""The plugin: Axolotl's trainer with the defenses that the block ``ringfence:`` names."""

from typing import Any

from axolotl.integrations.base import BasePlugin
from datasets import Dataset

from ringfence.core.errors import RingfenceError
from ringfence.integrations.axolotl.settings import PLUGIN, RingfenceSettings
from ringfence.integrations.versions import require_made_for
from ringfence.train import DefendedTrainerMixin

MADE_FOR = "0.19"
"""the minor version of Axolotl whose interface this was written and tried against"""


class RingfencePlugin(BasePlugin):
    """Trains with defenses what Axolotl loads; ``output_dir`` becomes a run folder."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[Dataset | None, Dataset | None] | None = None

    def register(self, cfg: Any) -> None:
        """Before anything is loaded. Raises :class:`RingfenceError` under another version of Axolotl."""
        asked = cfg.get("ringfence") or {}
        require_made_for("axolotl", MADE_FOR, bool(asked.get("any_version")), "set ringfence: {any_version: true}")

    def get_input_args(self) -> str:
        """Where the block's schema is."""
        return "ringfence.integrations.axolotl.settings.RingfenceArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Prepare safe and anchor rows; the target rows are Axolotl's affair."""
        self._prepared(cfg)

    def get_trainer_cls(self, cfg: Any) -> type:
        """Axolotl's trainer with the defenses."""
        from axolotl.core.trainers import AxolotlTrainer

        defenses = settings_of(cfg).defenses
        safe, anchor = self._prepared(cfg)

        class DefendedAxolotlTrainer(DefendedTrainerMixin, AxolotlTrainer):
            """``AxolotlTrainer`` with the defenses of one configuration."""

            undescribed = ("axolotl: the rest of its configuration",)

            def __init__(self, **given: Any) -> None:
                super().__init__(**given, safe_dataset=safe, anchor_dataset=anchor, defenses=defenses)

        return DefendedAxolotlTrainer

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        """Raise :class:`RingfenceError` if another trainer was made: it would train without a defense."""
        if not isinstance(trainer, DefendedTrainerMixin):
            raise RingfenceError(
                f"plugins: {type(trainer).__name__} of {type(trainer).__module__} would train, without a defense; "
                f"put {PLUGIN} first, or leave the other plugin out"
            )

    def _prepared(self, cfg: Any) -> tuple[Dataset | None, Dataset | None]:
        if self._rows is None:
            from ringfence.integrations.axolotl.rows import prepared

            settings = settings_of(cfg)
            self._rows = (prepared(cfg, settings.safe), prepared(cfg, settings.anchor))
        return self._rows


def settings_of(cfg: Any) -> RingfenceSettings:
    """The block ``ringfence:`` of a configuration that Axolotl has checked."""
    return RingfenceSettings.model_validate(cfg["ringfence"].to_dict())
