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

PARITY = 1e-12
"""Losses of 50 float64 steps on two libraries, relative: 4,500 eps, rounding of some hundred sums each."""

PARITY_OF_OUTPUTS = 1e-10
"""Single outputs after 50 steps, in units of the largest: a loss is a mean, in which the errors of rows cancel. The same for
losses that a line search found, whose step lengths magnify rounding."""

TRAINED_BY_HAND = 1e-12
"""A training run against the same equations written down in float64 NumPy, relative: the order of sums differs."""

SKLEARN_TRAINING = 1e-8
"""Relative difference from scikit-learn after 50 epochs or at the same L-BFGS iterations, float64: promised. Both sum the same
products in orders that differ; seen: 1e-15 to 1e-13 for stochastic solvers."""

ONE_STEP = 1e-13
"""Relative difference of one update or one loss computed by two formulas in float64: a few hundred eps."""

SAME_NUMBERS = 1e-10
"""Relative difference of short trainings on two array libraries in float64: products are summed in another order."""

SKLEARN_AMPLIFIED = 30.0
"""How many times further than scikit-learn from itself, when its input changes in the last bit, an L-BFGS run may end: a few
thousand rounded operations each differ, not only the inputs. Seen: below 10; another equation gives 10⁵ and more."""

DIGITS_ACCURACY = 0.97
"""Least test accuracy of `mlpx train digits`: promised; seed 0 gives 0.983, and one test row is 0.003."""

DIABETES_R2 = 0.45
"""Least test R² of `mlpx train diabetes`: promised; seed 0 gives 0.50, least squares 0.51 on the same rows."""

FRIEDMAN_R2 = 0.85
"""Least test R² of the regression example; noise leaves 0.96 at best, least squares reaches 0.72."""

WAVE_R2 = 0.99
"""Least R² of the example's sine units on a wave that relu units do not fit at all (0.00)."""

XOR_ERROR = 0.01
"""Largest error of the XOR examples where they have learned it; 0.5 says nothing was learned."""

BACKENDS_AGREE = 1e-12
"""Relative difference of the float64 losses of the four-backends example: the promise of 50 steps; seen: 3e-16."""

FLOAT32_TRAINING = 1e-2
"""Relative difference of two float32 trainings of a few epochs on two libraries: rounding of every step is carried on."""

STARTUP_SECONDS = 3.0
"""`mlpx --help` with other tests running beside it; 0.3 on a quiet machine, 2 and more if it loaded torch or jax."""

TRAINING_SECONDS = 60.0
"""Training digits with defaults with other tests running beside it; the promise is 10 on two quiet cores, seen: 2."""

BLAS_ORDER = 1e-10
"""The same float64 training on arrays of another memory layout, relative: a BLAS may add up in another order."""

README_ACCURACY = 0.9
"""Least accuracy of README's example on rows that it has not seen: 0.92 with seed 0, 0.1 for a guess."""

ROUNDED_TO_FLOAT32 = 10 * 2.0**-23
"""One step in float64 against one in float32 from the same numbers: the parameters of order 1, and a step of 1e-3 of that."""
