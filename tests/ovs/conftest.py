"""One Open vSwitch and one controller for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ovs.fabric import Fabric
from tests.process.manager import BIN, Manager
from tests.process.private_ovs import PrivateOvs
from tests.unit.gateways import EXAMPLES, example


@pytest.fixture(scope="session")
def built_fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    directory = tmp_path_factory.mktemp("fabric")
    gateway_file = directory / "gateway.json"
    gateway_file.write_text((EXAMPLES / "four_edge.yaml").read_text())
    with (PrivateOvs(directory / "ovs") as ovs,
          Manager(directory, str(BIN / "ryu-manager"), "controller.app",
                  config={"gateway_file": gateway_file, "audit_interval": 3600}) as manager):
        fabric = Fabric(ovs, manager.ready(), gateway_file)
        fabric.build()
        yield fabric


@pytest.fixture(autouse=True)
def fresh_start(built_fabric: Fabric) -> None:
    """No test sees the packets or the connections of another one."""
    built_fabric.forget_what_was_sent()
    built_fabric.forget_connections()


@pytest.fixture
def fabric(built_fabric: Fabric) -> Fabric:
    """The fabric with the example gateway of four edges."""
    built_fabric.load(example())
    return built_fabric
