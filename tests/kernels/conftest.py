"""What runs the CUDA kernels in the tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

from tinynn.backend import choose_device


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Any:
    """What runs the kernels: a device, or a compiler that makes C++ of them."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated_cupy")
    try:
        return choose_device("cuda").xp
    except RuntimeError as error:
        pytest.skip(str(error))
