"""Public checks: does my op, layer, loss, optimizer or array library keep mlpx's contracts? Our own tests use nothing else.

Names are imported at first use: pytest loads the plug-in in this package in every session of every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlpx.testing.strict_backend import register_strict

if TYPE_CHECKING:
    from mlpx.testing import budgets as budgets
    from mlpx.testing.assertions import assert_close as assert_close
    from mlpx.testing.assertions import assert_matches_reference as assert_matches_reference
    from mlpx.testing.assertions import assert_same_kind as assert_same_kind
    from mlpx.testing.backend_probes import BackendReport as BackendReport
    from mlpx.testing.backend_probes import check_backend as check_backend
    from mlpx.testing.gradients import check_gradients as check_gradients
    from mlpx.testing.layer_checks import check_layer as check_layer
    from mlpx.testing.op_checks import check_op as check_op
    from mlpx.testing.training_checks import check_loss as check_loss
    from mlpx.testing.training_checks import check_optimizer as check_optimizer
    from mlpx.testing.variants import Variant as Variant
    from mlpx.testing.variants import available_variants as available_variants
    from mlpx.testing.variants import missing_backends as missing_backends
    from mlpx.testing.variants import variant as variant

_HOMES = {
    "assert_close": "assertions",
    "assert_matches_reference": "assertions",
    "assert_same_kind": "assertions",
    "BackendReport": "backend_probes",
    "check_backend": "backend_probes",
    "check_gradients": "gradients",
    "check_layer": "layer_checks",
    "check_loss": "training_checks",
    "check_op": "op_checks",
    "check_optimizer": "training_checks",
    "Variant": "variants",
    "available_variants": "variants",
    "missing_backends": "variants",
    "variant": "variants",
}

__all__ = [
    "BackendReport",
    "Variant",
    "assert_close",
    "assert_matches_reference",
    "assert_same_kind",
    "available_variants",
    "budgets",
    "check_backend",
    "check_gradients",
    "check_layer",
    "check_loss",
    "check_op",
    "check_optimizer",
    "missing_backends",
    "variant",
]

register_strict()


def __getattr__(name: str) -> Any:
    if name == "budgets":
        return import_module("mlpx.testing.budgets")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"mlpx.testing.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
