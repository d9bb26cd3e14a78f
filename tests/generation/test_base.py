"""What names a row's random stream, and which settings of sampling cut nothing."""

from itertools import product

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.generation.base import Sampling, require_uncut, row_seed

SEED = 0x52D15939C6812CBB >> 1  # printf '3\0general/0\0001' | sha256sum


def test_seed_id_and_sample_each_tell_a_row_from_all_others() -> None:
    """Also where the names run together: seed 1 of row 11, seed 11 of row 1."""
    rows = list(product((0, 1, 11), ("1", "11", "general/0", "general/1"), range(12)))
    assert len({row_seed(63, *row) for row in rows}) == len(rows)
    assert len({row_seed(31, *row) for row in rows}) == len(rows)


def test_a_row_has_the_same_seed_in_every_process() -> None:
    """The first 8 bytes of SHA-256 of the names with NUL between them, less the last bit."""
    assert row_seed(63, 3, "general/0", 1) == SEED
    assert row_seed(31, 3, "general/0", 1) == SEED >> 32
    assert row_seed(63, "3", "general/0", "1") == SEED


@pytest.mark.parametrize("bits", [15, 31, 63])
def test_a_seed_has_so_many_bits_and_uses_them_all(bits: int) -> None:
    seeds = [row_seed(bits, 0, number) for number in range(200)]
    assert max(seeds).bit_length() == bits
    assert min(seeds) >= 0
    assert {seed % 2 for seed in seeds} == {0, 1}


def test_sampling_cuts_nothing_unless_asked() -> None:
    """By default every token may be drawn, with the probability that the model gives it."""
    sampling = Sampling()
    assert (sampling.temperature, sampling.top_p, sampling.min_p) == (1, 1, 0)
    require_uncut("the server", sampling)


@pytest.mark.parametrize("sampling", [Sampling(top_p=0.9), Sampling(min_p=0.1)])
def test_a_server_is_not_asked_to_cut(sampling: Sampling) -> None:
    with pytest.raises(RingfenceError, match="the server: top_p and min_p are for models in this process"):
        require_uncut("the server", sampling)
