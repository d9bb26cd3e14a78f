"""How often 95% intervals hold the true rate, and how often tests find a difference where there is none.

    python benchmarks/coverage.py                   # all tables, some minutes on one core
    python benchmarks/coverage.py --table rates     # or differences, ratios, seeds, seed-differences
    python benchmarks/coverage.py --data-sets 200   # faster, coarser

Data sets are simulated with a fixed seed; 600 of them have a binomial error of 0.9 points around 95%. Prompts have
rates from a Beta distribution with an intra-prompt correlation (ICC); "always" are prompts that leak always or never.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import expit, ndtri

from ringfence.core.comparisons import paired_difference
from ringfence.core.ratios import paired_ratio
from ringfence.core.seed_differences import seed_difference
from ringfence.core.seeds import seed_interval
from ringfence.core.statistics import clustered_interval, percentile, resampled_ratios, wilson

DESIGNS = ((24, 100), (65, 1), (24, 10), (8, 50), (60, 1))
"""prompts x samples"""
RATES = (0.005, 0.02, 0.05, 0.2, 0.5)
SPREADS: tuple[float | str, ...] = (0.0, 0.05, 0.3, "always")
PAIRS: tuple[tuple[float | str, float | str], ...] = ((0.0, 0.0), (0.1, 0.1), (0.0, 0.3), (0.0, "always"), (0.05, 0.3))
FLIPS = 999

Rows = Iterator[tuple[str, ...]]


def prompt_rates(generator: np.random.Generator, prompts: int, rate: float, spread: float | str) -> NDArray[np.float64]:
    """(prompts,) true rates whose mean is ``rate``."""
    if spread == "always":
        return (generator.random(prompts) < rate).astype(np.float64)
    if spread == 0:
        return np.full(prompts, rate)
    scale = (1 - float(spread)) / float(spread)
    return generator.beta(rate * scale, (1 - rate) * scale, size=prompts)


def rates(data_sets: int) -> Rows:
    """Coverage and mean width of the interval of one run, beside Wilson's of the pooled samples."""
    for prompts, samples in DESIGNS:
        # Among single samples there is no correlation to be seen.
        for spread in SPREADS if samples > 1 else (0.0,):
            for rate in RATES:
                generator, held, width = np.random.default_rng(0), np.zeros(2), np.zeros(2)
                for _ in range(data_sets):
                    hits = generator.binomial(samples, prompt_rates(generator, prompts, rate, spread))
                    found = clustered_interval(hits, [samples] * prompts)
                    pooled = wilson(int(hits.sum()), prompts * samples)
                    held += [one.low <= rate <= one.high for one in (found, pooled)]
                    width += [found.width, pooled.width]
                shares = (f"{share / data_sets:.1%}" for share in (*held, *width))
                yield (f"{prompts} x {samples}", f"{rate:.1%}", str(spread), *shares)


def differences(data_sets: int) -> Rows:
    """Type-I error at 5% of two runs of equal rate: ours, and the sign-flip permutation test's."""
    for prompts, samples in ((24, 100), (65, 5), (8, 50)):
        for one, other in PAIRS:
            for rate in (0.01, 0.05, 0.2, 0.5):
                generator, found = np.random.default_rng(0), np.zeros(2)
                for _ in range(data_sets):
                    a, b = (
                        generator.binomial(samples, prompt_rates(generator, prompts, rate, spread))
                        for spread in (one, other)
                    )
                    ours = paired_difference(a, [samples] * prompts, b, [samples] * prompts)
                    found += [ours.p <= 0.05, permutation(generator, (a - b) / samples) <= 0.05]
                yield (
                    f"{prompts} x {samples}",
                    f"{rate:.0%}",
                    f"{one} and {other}",
                    *(f"{x / data_sets:.1%}" for x in found),
                )


def permutation(generator: np.random.Generator, differences: NDArray[np.float64]) -> float:
    """p of the sum of ``differences`` over random sign patterns."""
    signs = 2 * generator.integers(2, size=(FLIPS, differences.size)) - 1
    beyond = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9
    return float(beyond.sum() + 1) / (FLIPS + 1)


def ratios(data_sets: int) -> Rows:
    """Coverage of the interval of a ratio that is truly 95%, beside the bootstrap's alone, and how often each passes.

    What passes has a lower bound above 95%; half of what is not covered, 2.5%, may.
    """
    for prompts, samples in ((20, 10), (40, 1), (100, 10), (300, 1)):
        for rate in (0.1, 0.5, 0.9):
            for spread in (0.05, 0.3) if samples > 1 else (0.3,):
                generator, found = np.random.default_rng(0), np.zeros(4)
                for _ in range(data_sets):
                    easy = prompt_rates(generator, prompts, rate, spread)
                    a, b = (generator.binomial(samples, one) for one in (0.95 * easy, easy))
                    ours = paired_ratio((a, [samples] * prompts), (b, [samples] * prompts), resamples=1000)
                    alone = percentile(resampled_ratios(a.astype(float), b.astype(float), 1000, 0), 0.95)
                    held = [one.low <= 0.95 <= one.high for one in (ours, alone)]
                    found += [*held, *(one.low > 0.95 for one in (ours, alone))]
                shares = (f"{share / data_sets:.1%}" for share in found)
                yield (f"{prompts} x {samples}", f"{rate:.0%}", str(spread), *shares)


def seeded(
    generator: np.random.Generator, shape: tuple[int, int, int], middle: float, of_seeds: float
) -> NDArray[np.int64]:
    """(seeds, prompts) hits; log odds are ``middle`` plus normal effects of seeds, prompts (sd 1) and both (sd 0.3)."""
    seeds, prompts, samples = shape
    effects = of_seeds * generator.normal(size=(seeds, 1)) + generator.normal(size=(1, prompts))
    return generator.binomial(samples, expit(middle + effects + 0.3 * generator.normal(size=(seeds, prompts))))


def seeds(data_sets: int) -> Rows:
    """Coverage and mean width of the interval over seeds, beside mean -+ 1.96 sd / sqrt(seeds)."""
    for count in (3, 5):
        for prompts, samples in ((65, 1), (24, 10)):
            for middle in (-3.0, -1.5, 0.0):
                for of_seeds in (0.3, 0.8):
                    generator, held, width = np.random.default_rng(0), np.zeros(2), np.zeros(2)
                    noise = np.sqrt(of_seeds**2 + 1 + 0.3**2) * generator.normal(size=1_000_000)
                    truth = float(expit(middle + noise).mean())
                    for _ in range(data_sets):
                        hits = seeded(generator, (count, prompts, samples), middle, of_seeds)
                        found = seed_interval(hits, np.full_like(hits, samples))
                        of_seed = hits.mean(axis=1) / samples
                        half = float(ndtri(0.975)) * of_seed.std(ddof=1) / np.sqrt(count)
                        held += [found.low <= truth <= found.high, abs(of_seed.mean() - truth) <= half]
                        width += [found.width, 2 * half]
                    shares = (f"{share / data_sets:.1%}" for share in (*held, *width))
                    yield (f"{count}", f"{prompts} x {samples}", f"{truth:.1%}", str(of_seeds), *shares)


def seed_differences(data_sets: int) -> Rows:
    """Type-I error at 5% of two variants of equal rate whose seeds spread unequally, on the same prompts."""
    for count in (3, 5):
        for middle in (0.2, 0.5):
            for one, other in ((0.0, 0.0), (0.1, 0.1), (0.0, 0.1)):
                generator, found = np.random.default_rng(0), np.zeros(2)
                for _ in range(data_sets):
                    of_prompts = prompt_rates(generator, 24, middle, 0.2)
                    effects = generator.normal(size=(2, count, 1))
                    a, b = (
                        generator.binomial(10, np.clip(of_prompts + sd * effect, 0, 1))
                        for sd, effect in zip((one, other), effects, strict=True)
                    )
                    ten = np.full_like(a, 10)
                    found += [seed_difference((a, ten), (b, ten), paired).p <= 0.05 for paired in (False, True)]
                shares = (f"{share / data_sets:.1%}" for share in found)
                yield (f"{count}", f"{middle:.0%}", f"{one} and {other}", *shares)


TABLES: dict[str, tuple[Callable[[int], Rows], tuple[str, ...]]] = {
    "rates": (rates, ("prompts x samples", "rate", "ICC", "holds it", "Wilson, pooled", "width", "its width")),
    "differences": (differences, ("prompts x samples", "rate of both", "ICC", "p <= 5%", "by permutation")),
    "ratios": (
        ratios,
        ("prompts x samples", "rate", "ICC", "holds it", "bootstrap alone", "passes", "bootstrap alone"),
    ),
    "seeds": (seeds, ("seeds", "prompts x samples", "rate", "sd", "holds it", "-+ 1.96 sd", "width", "its width")),
    "seed-differences": (seed_differences, ("seeds", "rate of both", "sd", "p <= 5%", "in pairs")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append", help="only this one; may be given several times")
    parser.add_argument("--data-sets", type=int, default=600, help="simulated data sets a row")
    given = parser.parse_args()
    for name in given.table or TABLES:
        rows, headings = TABLES[name]
        table = Table(*headings, title=name, title_justify="left")
        for row in rows(given.data_sets):
            table.add_row(*row)
        Console().print(table)


if __name__ == "__main__":
    main()
