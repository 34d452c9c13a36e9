"""The Mininet controller class: a ControllerProcess as a node, for labs and for ``mn --controller saga``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mininet.node import Controller, Node

from topologies.errors import LabError
from topologies.manager import ControllerProcess
from topologies.switches import SagaSwitch

SYSTEM_DATABASE = "unix:/var/run/openvswitch/db.sock"
"""Database of the system's Open vSwitch, which ``mn`` uses."""


class SagaController(Controller):
    """Runs this project's ``ryu-manager controller.app``.

    With ``process`` given it only points the switches to that process, whose owner starts and stops it; else it makes
    one, in a temporary directory, and waits at its start until the REST interface answers.
    """

    def __init__(
        self,
        name: str,
        process: ControllerProcess | None = None,
        gateway_file: str | Path | None = None,
        port: int = 6653,
        rest_port: int = 8080,
        environment: Mapping[str, str] | None = None,
        **params: Any,
    ) -> None:
        """``gateway_file``, ``port`` (OpenFlow) and ``rest_port`` are for the process it makes itself."""
        self._environment = environment
        self._directory: Path | None = None
        if process is None:
            if gateway_file is None or not Path(gateway_file).is_file():
                raise LabError(f"no gateway file {gateway_file}: give --controller saga,gateway_file=FILE")
            self._directory = Path(tempfile.mkdtemp(prefix="saga-"))
            process = ControllerProcess(self._directory, Path(gateway_file).resolve(), port, rest_port, environment,
                                        [SYSTEM_DATABASE])
        self.process = process
        super().__init__(name, ip=process.openflow_host, port=process.openflow_port, **params)

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen:
        return super()._popen(cmd, **{"env": self._environment, **params})

    @property
    def api(self) -> str:
        """Base URL of the REST interface."""
        return self.process.api

    def checkListening(self) -> None:  # noqa: N802 (Mininet's name)
        """Do nothing: a port that is taken shows in the controller's log and in ``start``."""

    def start(self) -> None:
        """Start an own process; its switches are settled a moment after Mininet has started them."""
        if self._directory:
            self.process.start()
            self.process.wait_listening()

    def stop(self, *_args: Any, **_kwargs: Any) -> None:
        """Stop an own process, and the node."""
        if self._directory:
            self.process.stop()
            shutil.rmtree(self._directory, ignore_errors=True)
        Node.stop(self)


def program_environment(net: Any) -> dict[str, str]:
    """Return the variables by which ``saga`` finds the controller and the switches of a running network.

    Raises LabError for a network without our controller or switches.
    """
    controllers = [node for node in net.controllers if isinstance(node, SagaController)]
    switches = [node for node in net.switches if isinstance(node, SagaSwitch)]
    if not controllers or not switches:
        raise LabError("this network does not run with --controller saga and --switch saga")
    return {"SAGA_API": controllers[0].api, "OVS_RUNDIR": str(switches[0].ovs.rundir)}
