"""What reading with a model leaves as it was, and rows as one tensor."""

import pytest
import torch
from torch import nn

import tiny
from ringfence.models.inference import inference, left_padded


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def test_training_mode_is_put_back_after_an_error() -> None:
    model = tiny.model().train()
    before = modes(model)

    def interrupted() -> None:
        with inference(model):
            assert not any(modes(model).values())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert modes(model) == before


def test_left_padding() -> None:
    padded = left_padded([[5, 6], [7, 8, 9, 10], [11]], 0, torch.device("cpu"))
    assert padded["input_ids"].tolist() == [[0, 0, 5, 6], [7, 8, 9, 10], [0, 0, 0, 11]]
    assert padded["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]]
