"""``make demo`` ends well, and says what it saw."""

from __future__ import annotations

import os
import sys

from topologies.demo import INGRESS, OWNER, RETURN
from topologies.process import run


def test_the_demonstration_sees_figures_3_and_4():
    result = run([sys.executable, "-m", "topologies.demo"], timeout=200, env=os.environ)
    assert f"entered {INGRESS}, punted, served by {OWNER}" in result.stdout
    assert f"entered {RETURN}, punted, served by {OWNER}" in result.stdout
    assert "everything was as figures 3 and 4 draw it" in result.stdout
    assert "NOT OK" not in result.stdout
