"""Variants: their names, what they do to arrays, and the strict backend that stands in for a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import registry, to_numpy
from mlpx.errors import BackendMissingError, ConfigError
from mlpx.testing import available_variants, missing_backends, variant
from mlpx.testing.variants import as_variants

A = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_numpy_and_strict_are_always_there_and_missing_ones_say_why():
    names = [one.name for one in available_variants()]
    assert names[:2] == ["numpy", "numpy:readonly"]
    assert {"strict:device1", "strict:static"} <= set(names)
    assert all(missing.reason and missing.cure for missing in missing_backends().values())
    assert not {one.backend.name for one in available_variants()} & missing_backends().keys()


def test_arrays_go_in_and_out_with_their_bits_dtype_and_device(backend_variant):
    for array in (A, A.astype(np.int32), np.array(True), np.zeros((0, 3), np.float32), np.asarray(2.5, dtype=np.float32)):
        placed = backend_variant.put(array)
        back = backend_variant.get(placed)
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()
    assert tuple(backend_variant.put(A).shape) == (3, 4)


def test_put_never_shares_memory(backend_variant):
    array = A.copy()
    placed = backend_variant.put(array)
    array[:] = -1
    assert np.array_equal(backend_variant.get(placed), A)


def test_readonly_inputs_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        variant("numpy:readonly").put(A)[0, 0] = 1


def test_traced_forms_give_the_same_values_or_none(backend_variant):
    result = backend_variant.wrap(lambda a, b: {"sum": a + b, "none": None})(backend_variant.put(A), backend_variant.put(A))
    assert result["none"] is None
    assert tuple(result["sum"].shape) == (3, 4)
    if backend_variant.materialises:
        assert np.array_equal(backend_variant.get(result["sum"]), 2 * A)


def test_torch_meta_has_no_values(backend_variant):
    assert backend_variant.materialises == (backend_variant.name != "torch:meta")


def test_unknown_and_missing_names_are_refused():
    with pytest.raises(ConfigError, match="unknown backend 'nunpy'; did you mean 'numpy'"):
        variant("nunpy")
    with pytest.raises(ConfigError, match="unknown variant 'strict:device9'"):
        variant("strict:device9")
    for name in missing_backends():
        with pytest.raises(BackendMissingError, match="Cure"):
            variant(name)


def test_names_stand_for_backends_or_single_variants():
    assert [one.name for one in as_variants("numpy")] == ["numpy", "numpy:readonly"]
    assert [one.name for one in as_variants(["numpy", "strict:device2"])] == ["numpy", "numpy:readonly", "strict:device2"]
    assert as_variants(variant("numpy")) == (variant("numpy"),)
    assert str(variant("strict:cpu")) == "strict:cpu"


@pytest.fixture
def strict():
    return variant("strict:device1")


def test_strict_devices_do_not_mix_and_do_not_become_numpy(strict):
    placed, other = strict.put(A), variant("strict:device2").put(A)
    with pytest.raises(ValueError, match="different devices"):
        placed + other
    with pytest.raises(RuntimeError, match=r"device1.*to a NumPy array"):
        np.asarray(placed)
    assert np.array_equal(to_numpy(placed), A)
    assert registry.backend_of(placed).device_name(placed) == "device1"


def test_strict_knows_only_the_revision_that_mlpx_is_written_in(strict):
    assert strict.namespace.__array_api_version__ == "2024.12"


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: float(x[0, 0]),
        lambda x: bool(x[0, 0] > 0),
        lambda x: int(x[0, 0]),
        lambda x: x[x > 0],
        lambda x: x.__setitem__((0, 0), 1),
    ],
    ids=["float", "bool", "int", "mask", "setitem"],
)
def test_strict_static_refuses_what_a_compiler_refuses_and_only_there(mistake):
    static = variant("strict:static")
    placed = static.put(A)
    with pytest.raises((TypeError, RuntimeError)):
        static.wrap(mistake)(placed)
    mistake(placed)
