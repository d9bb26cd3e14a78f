"""Cost of a selection relative to fine-tuning: the paper's equation 10, derived.

Scoring reads every candidate once by K misaligned models and the aligned one: ``(K + 1) * n_candidates`` forward
passes. A fine-tuning run of ``n_ft`` examples costs ``R * n_ft`` of them, R = 9 by the paper (a backward pass, and a
lower share of the machine's peak), and there are ``n_runs`` that use the same selection. So

    overhead = (K + 1) * n_candidates / (R * n_ft * n_runs).

Kaczer et al., appendix E, print ``n_ft`` above the line and the number of candidates below. Their own example (K = 3,
10,000 candidates, 6,000 examples, 100 runs of 80 GPU-hours in all) says which is meant: 0.7 GPU-hours are stated, ours
gives 0.59, the printed one 0.21. Examples count alike, whatever their length.
"""

TRAINING_TO_INFERENCE = 9.0
"""the paper's R: cost of training on an example / cost of a forward pass over it"""


def overhead(
    misaligned: int,
    candidates: int,
    fine_tuning_rows: int,
    runs: int = 1,
    training_to_inference: float = TRAINING_TO_INFERENCE,
) -> float:
    """Scoring's cost / the cost of the fine-tuning runs. Raises ``ValueError`` unless all counts are positive."""
    if min(misaligned, candidates, fine_tuning_rows, runs) < 1 or training_to_inference <= 0:
        raise ValueError("the overhead needs at least one misaligned model, candidate, fine-tuning row and run")
    return (misaligned + 1) * candidates / (training_to_inference * fine_tuning_rows * runs)
