"""Reading with a model, not training it: evaluation mode, and rows of different lengths as one tensor."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from transformers import PreTrainedModel


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """``input_ids`` and ``attention_mask``, each (rows, longest), padded on the left."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, width - len(row) :] = torch.tensor(row)
        mask[index, width - len(row) :] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


@contextmanager
def inference(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Evaluation mode without gradients inside; the former mode of every module afterwards."""
    training = [module for module in model.modules() if module.training]
    # The last positions of a batch are a strided slice. With a frozen weight, torch multiplies such a slice by a copy
    # of the whole vocabulary matrix for every row: gigabytes, and three times the time of a generation.
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        handle.remove()
        for module in training:
            module.training = True


def give_back() -> None:
    """Let go of models that nobody holds, on a GPU, too: an engine asks the device what is free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
