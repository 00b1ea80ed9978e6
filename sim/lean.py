"""What a simulation loads before cocotb: stand-ins for the parts of pytest that cocotb names, and no bench uses.

To import pytest itself takes as long as all the rest of a short simulation.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

ENTRIES = (  # of cocotb, in its order; it measures no coverage here
    "scaflow.sim.lean:stand_in",
    "cocotb.logging:_configure",
    "cocotb._init:init_package_from_simulation",
    "cocotb.regression:_run_regression",
)


class _NeverRaised(Exception):
    """What no bench raises."""


def stand_in() -> None:
    outcome = SimpleNamespace(Exception=_NeverRaised)
    _module("pytest", skip=outcome, xfail=outcome, raises=outcome)
    _module("_pytest.assertion", install_importhook=None)  # is asked for, and not called: no file is rewritten
    _module("_pytest.config", Config=None)


def _module(name: str, **what: Any) -> None:
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(what)
