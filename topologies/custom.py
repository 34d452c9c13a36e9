"""What a file for ``mn --custom`` gives to ``mn``: topology, switch and controller classes, command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topologies.base import GatewayTopo
from topologies.cli import SagaCLI
from topologies.controllers import SagaController
from topologies.switches import SagaSwitch


def entries(name: str, topology: type[GatewayTopo]) -> dict[str, Any]:
    """Return the names that ``mn`` takes from a custom file.

    ``--topo NAME,config=FILE`` uses another gateway file, and ``--controller saga`` then uses it, too.
    """
    used: dict[str, Path] = {"file": topology.gateway_file}

    def topo(config: str | None = None, **params: Any) -> GatewayTopo:
        if config is not None:
            used["file"] = Path(config)
        return topology(config=used["file"], **params)

    def controller(node: str, **params: Any) -> SagaController:
        return SagaController(node, **{"gateway_file": used["file"], **params})

    return {
        "topos": {name: topo},
        "switches": {"saga": SagaSwitch},
        "controllers": {"saga": controller},
        "CLI": SagaCLI,
    }
