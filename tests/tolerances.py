"""Bounds that single tests use and that are not budgets of ops (those are `mlpx.testing.budgets`): each with its reason."""

from __future__ import annotations

STANDARD_ERRORS = 5.0
"""How far a sample mean may lie from its expectation. By chance once in 2·10⁶ seeds; a seed is fixed, so once and for all."""

KS_P_VALUE = 1e-3
"""Least p-value of a Kolmogorov-Smirnov test with a fixed seed; a wrong distribution gives 1e-30 at these sample sizes."""

NORMAL_TABLE = 1e-5
"""Promised error of `random.normal`: linear interpolation in 128 cells an octave, h²/8 · |z''| ≤ 8e-6, and the grid's 1e-6."""

DATA_MOMENT_ULP = 32.0
"""Mean and variance of a column, in eps of its largest value: pairwise sums of n ≤ 2,000 in blocks of 128 round at most 8 + 5
times on the way to eight accumulators, twice for a variance of squares; 32 covers both."""

DATA_STANDARDISED_ULP = 512.0
"""(x − mean) / scale by two implementations, in eps of the largest result: each error of the mean counts |mean| / scale times,
which is below 8 in the data sets compared."""
