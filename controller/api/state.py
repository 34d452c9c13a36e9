"""What the controller knows at the moment: configuration, connected bridges, alarms; and how it is shown."""

from __future__ import annotations

from controller.alarms import Alarms
from controller.compile import distributed_router, service_router
from controller.compile.gateway import bridges, compile_bridge
from controller.compile.values import Program
from controller.model import names
from controller.model.gateway import Config, Gateway, ServiceRouter
from controller.model.warnings import config_alarms
from controller.pipeline.addresses import text
from controller.pipeline.tables import Kind
from controller.reconcile.bridge import BridgeWorker, Outcome
from controller.services.answers import Answers

DISCONNECTED, PORT_MISSING, REJECTED, NOT_CONVERGED = ("bridge_disconnected", "port_missing", "flows_rejected",
                                                       "bridge_not_converged")


class State:
    """The controller's knowledge.  Knows no sockets; workers are told apart by the channel they hold."""

    def __init__(self, config: Config, alarms: Alarms):
        self.alarms = alarms
        self.workers: dict[str, BridgeWorker] = {}
        self._config_alarm_ids: set[str] = set()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take a configuration in place of the present one."""
        self.config = config
        self.answers = Answers(config)
        self._gateways = {bridge: gateway for gateway in config.gateways for bridge in bridges(gateway)}
        found = config_alarms(config)
        self._config_alarm_ids |= {alarm.id for alarm in found}
        self.alarms.replace(self._config_alarm_ids, [
            (alarm.id, alarm.gateway, alarm.entity, alarm.severity, alarm.cause, alarm.remedy) for alarm in found])
        self.alarms.replace((DISCONNECTED,), [self._disconnected_alarm(name) for name in self._gateways
                                              if name not in self.workers])

    def kinds(self) -> dict[str, Kind]:
        """Return the kinds of all bridges by name."""
        return {bridge: kind for gateway in self.config.gateways for bridge, kind in bridges(gateway).items()}

    def knows(self, bridge: str) -> bool:
        """True where a bridge belongs to a gateway."""
        return bridge in self._gateways

    def compile(self, bridge: str, ports: dict[str, int]) -> Program:
        """Return the desired program of a bridge; an empty one where no gateway has it any more."""
        gateway = self._gateways.get(bridge)
        if gateway is None:
            return Program(bridge, (), ())
        return compile_bridge(gateway, bridge, ports)

    def connected(self, bridge: str, worker: BridgeWorker) -> None:
        """A bridge has connected."""
        self.workers[bridge] = worker
        self.alarms.clear(DISCONNECTED, self._gateways[bridge].id, bridge)

    def disconnected(self, bridge: str) -> None:
        """A bridge has gone; it forwards by itself as it was programmed."""
        self.workers.pop(bridge, None)
        self.answers.resolution.forget(bridge)
        if bridge in self._gateways:
            self.alarms.raise_alarm(*self._disconnected_alarm(bridge))

    def bridge_of(self, channel) -> str | None:
        """Return the name of the bridge behind a channel, or None."""
        return next((name for name, worker in self.workers.items() if worker.channel is channel), None)

    def report(self, bridge: str, outcome: Outcome) -> None:
        """Turn the outcome of a pass over a bridge into alarms."""
        gateway = self._gateways.get(bridge)
        if gateway is None:
            return
        self._set(bool(outcome.missing_ports), PORT_MISSING, gateway, bridge,
                  f"bridge {bridge} has no port named {', '.join(outcome.missing_ports)}; what needs it is not served",
                  "add the port to the bridge, or correct `port` in the gateway file")
        self._set(bool(outcome.rejected), REJECTED, gateway, bridge,
                  f"bridge {bridge} refused: {'; '.join(outcome.rejected)}",
                  "check the version of Open vSwitch (3.1 or newer) and its log; the bridge keeps its former flows")
        self._set(bool(outcome.error), NOT_CONVERGED, gateway, bridge, outcome.error,
                  "look at the connection and the log of the switch; the next audit tries again")

    def settled(self) -> bool:
        """True where every bridge of the configuration is connected and holds its desired program."""
        return all(name in self.workers and self.workers[name].settled for name in self._gateways)

    def health(self) -> dict:
        """Return the state of every bridge as JSON values."""
        shown = {}
        for name in self._gateways:
            worker = self.workers.get(name)
            shown[name] = {"connected": worker is not None, "settled": bool(worker and worker.settled)}
            if worker is not None:
                shown[name] |= {"round": worker.round, "ports": worker.ports, **vars(worker.counters)}
        return {"status": "ok", "settled": self.settled(), "gateways": [gw.id for gw in self.config.gateways],
                "bridges": shown}

    def gateways(self) -> list[dict]:
        """Return the gateways with routers, owner table and ports as JSON values."""
        return [self._show(gateway) for gateway in self.config.gateways]

    def _show(self, gateway: Gateway) -> dict:
        def legs(found):
            return [{"index": leg.index, "port": leg.port, "mac": text(leg.mac), "group": leg.group,
                     "addresses": [str(address) for address in leg.addresses]} for leg in found]

        routers = [{
            "slot": sr.slot, "edge": sr.edge, "failure_domain": sr.failure_domain, "bridge": sr.bridge,
            "zone": sr.zone, "connected": sr.bridge in self.workers, "legs": legs(service_router.legs(gateway, sr)),
            "shadow_ports": {"north": names.sr_port(gateway.prefix, sr.slot, names.PUNT_NORTH),
                             "south": names.sr_port(gateway.prefix, sr.slot, names.PUNT_SOUTH)},
        } for sr in gateway.routers]
        return {
            "id": gateway.id, "number": gateway.number, "prefix": gateway.prefix, "ha_mode": gateway.ha_mode.value,
            "stateful": gateway.stateful, "redirection_policy": gateway.redirection_policy.value,
            "redirects": service_router.redirects(gateway), "dr_ecmp": gateway.dr_ecmp.value,
            "interface_groups": [{"id": group.id, "index": group.index} for group in gateway.groups],
            "segments": [{"id": segment.id, "port": segment.port,
                          "addresses": [str(address) for address in segment.addresses]}
                         for segment in gateway.segments],
            "distributed_router": {"bridge": names.dr_bridge(gateway.prefix),
                                   "legs": legs(distributed_router.legs(gateway))},
            "routers": routers,
            "nat_rules": [rule.id for rule in gateway.nat_rules],
            "firewall_rules": [rule.id for rule in gateway.firewall_rules],
            "translations": [{"action": rule.action.value, "source": rule.source and str(rule.source),
                              "destination": rule.destination and str(rule.destination),
                              "translated": rule.translated and [str(address) for address in rule.translated]}
                             for rule in gateway.nat_rules],
            "ports": {name: self.workers[name].ports for name in bridges(gateway) if name in self.workers},
            "sub_clusters": [{"id": entry.id, "slots": list(entry.slots),
                              "edges": [gateway.router(slot).edge for slot in entry.slots]}
                             for entry in gateway.sub_clusters],
            "owner_table": [_owner_row(gateway, sr) for sr in gateway.routers],
        }

    def _disconnected_alarm(self, bridge: str) -> tuple[str, str, str, str, str, str]:
        return (DISCONNECTED, self._gateways[bridge].id, bridge, "HIGH",
                f"bridge {bridge} is not connected; it forwards as it was last programmed (unless it is new, or its "
                "controller was removed from the switch database, which empties it)",
                "check that the bridge exists, that its controller is set, and that the address is reachable")

    def _set(self, wrong: bool, id_: str, gateway: Gateway, bridge: str, cause: str, remedy: str) -> None:
        if wrong:
            self.alarms.raise_alarm(id_, gateway.id, bridge, "CRITICAL", cause, remedy)
        else:
            self.alarms.clear(id_, gateway.id, bridge)


def _owner_row(gateway: Gateway, router: ServiceRouter) -> dict:
    """Return a row of the owner table as JSON values; ``peer`` and ``sub_cluster`` are null without a backup."""
    pair, peer = gateway.sub_cluster_of(router.slot), gateway.peer_of(router.slot)
    return {"slot": router.slot, "member": router.edge, "holder": router.edge,
            "sub_cluster": pair and pair.id, "peer": peer and gateway.router(peer).edge}
