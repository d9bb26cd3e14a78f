"""Tests against vLLM itself are marked ``vllm``; elsewhere than in its own environment they are skipped."""

from pathlib import Path

import pytest

from skipping import skip_without


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_without("RINGFENCE_TEST_VLLM", "vllm", "no vLLM; `make test-vllm` makes an environment with it", items)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of random weights on the embedded model: two plain ones of different rank, and a DoRA."""
    import torch
    from peft import LoraConfig, get_peft_model

    from ringfence.models import load

    folder = tmp_path_factory.mktemp("adapters")
    made = {}
    for seed, (name, rank, scale, dora) in enumerate(
        [("first", 8, 0.05, False), ("second", 16, 0.03, False), ("dora", 4, 0.05, True)]
    ):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank,
            lora_alpha=16,
            use_rslora=not dora,
            use_dora=dora,
            target_modules=["q_proj", "v_proj", "o_proj", "down_proj"],
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(load("smollm2-135m").model, config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(0, scale)
        model.eval().save_pretrained(str(folder / name))
        made[name] = folder / name
    return made
