"""Safe and anchor rows, prepared by Axolotl as it prepares the target rows: same template, same masks, same cuts."""

import copy
from collections.abc import Sequence
from typing import Any

from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_cfg_datasets
from axolotl.utils.data import prepare_datasets
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.datasets import SFTDataset
from datasets import Dataset

# Of the target rows alone: their held-out part, their counts, and where they are kept.
_OF_TARGET = ("test_datasets", "total_num_tokens", "total_supervised_tokens", "push_dataset_to_hub", "max_steps")
_SHARDS = ("dataset_shard_num", "dataset_shard_idx")


def prepared(cfg: Any, entries: Sequence[Any]) -> Dataset | None:
    """The tokenised rows of ``entries``, which are as in Axolotl's ``datasets:``; None without any."""
    if not entries:
        return None
    own = copy.deepcopy(cfg)
    own.datasets = [DictDefault(SFTDataset(**one).model_dump(exclude_none=True)) for one in entries]
    own.val_set_size = 0
    for name in (*_OF_TARGET, *_SHARDS):
        own[name] = None
    normalize_cfg_datasets(own)
    rows: Dataset = prepare_datasets(own, load_tokenizer(own))[0]
    return rows
