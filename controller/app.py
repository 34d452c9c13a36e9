"""The Ryu application: switch events in, programs and packets out.  Everything it decides is decided elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from ryu import cfg
from ryu.app.wsgi import WSGIApplication
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_5

from controller import launcher
from controller.alarms import Alarms
from controller.api.rest import API_NAME, SagaApi
from controller.api.state import State
from controller.model import ModelError, load
from controller.openflow import encode, packet_in
from controller.openflow.channel import Channel, ChannelError, error_text
from controller.reconcile.bridge import BridgeWorker, Counters
from controller.services import ovsdb
from controller.services.answers import Send

LOG = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between looks at unanswered questions."""
NEXT_HOP_REFRESH = 30.0
"""Seconds between questions for configured next hops: well inside the time after which a neighbour is forgotten."""


class SagaApp(app_manager.RyuApp):
    """Programs the bridges of the gateways in the gateway file and serves the API."""

    OFP_VERSIONS = [ofproto_v1_5.OFP_VERSION]
    _CONTEXTS = {"wsgi": WSGIApplication}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._audit_interval = cfg.CONF.audit_interval
        self._channels: dict[int, Channel] = {}
        self._threads: dict[int, object] = {}
        self._counters: dict[str, Counters] = {}
        self._unnamed = hub.Event()
        self.state = State(self._first_config(), Alarms())
        kwargs["wsgi"].register(SagaApi, {API_NAME: self})
        launcher.on_hangup(self._reload_quietly)

    @staticmethod
    def _first_config():
        path = cfg.CONF.gateway_file
        if not path:
            LOG.critical("no gateway file: set gateway_file in the configuration file, or give --gateway-file")
            sys.exit(2)
        try:
            return load(path)
        except ModelError as error:
            for problem in error.problems:
                LOG.critical("%s: %s: %s", path, problem.path, problem.message)
            sys.exit(2)

    def start(self):
        """Start the application's own green threads."""
        super().start()
        hub.spawn(self._tick)
        hub.spawn(self._name_tables)

    def reload(self) -> None:
        """Read the gateway file again and bring every bridge up to date.  Raises ModelError and changes nothing."""
        self.state.configure(load(cfg.CONF.gateway_file, self.state.config))
        LOG.info("gateway file %s read again", cfg.CONF.gateway_file)
        for worker in self.state.workers.values():
            worker.wake()
        for dpid, channel in self._channels.items():
            if dpid not in self._threads:
                self._threads[dpid] = hub.spawn(self._work, dpid, channel)

    def _reload_quietly(self) -> None:
        try:
            self.reload()
        except ModelError as error:
            for problem in error.problems:
                LOG.error("gateway file not taken, %s: %s", problem.path, problem.message)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def state_changed(self, event):
        """A switch came or went."""
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self._disconnected(datapath.id)
            channel = self._channels[datapath.id] = Channel(datapath)
            self._threads[datapath.id] = hub.spawn(self._work, datapath.id, channel)
        elif datapath.id in self._channels and self._channels[datapath.id].datapath is datapath:
            self._disconnected(datapath.id)

    def _disconnected(self, dpid: int) -> None:
        channel, thread = self._channels.pop(dpid, None), self._threads.pop(dpid, None)
        if thread is not None:
            hub.kill(thread)
        for name, worker in list(self.state.workers.items()):
            if channel is not None and worker.channel is channel:
                LOG.warning("bridge %s: disconnected", name)
                self.state.disconnected(name)

    def _work(self, dpid: int, channel: Channel) -> None:
        """Find out which bridge a connection is, and keep that bridge as desired."""
        try:
            ports = channel.ports()
        except ChannelError as error:
            LOG.error("datapath %016x: %s", dpid, error)
            channel.datapath.close()
            return
        name = next((name for name, number in ports.items() if number == ofproto_v1_5.OFPP_LOCAL), "")
        if not self.state.knows(name):
            LOG.warning("bridge %s belongs to no gateway, it is left alone", name or f"with datapath id {dpid:016x}")
            self._threads.pop(dpid, None)
            return
        LOG.info("bridge %s: connected", name)
        worker = BridgeWorker(name, channel, ports, self.state.compile, self._report, self._audit_interval,
                              self._counters.setdefault(name, Counters()))
        self.state.connected(name, worker)
        self._unnamed.set()
        worker.run()

    def _report(self, name, outcome) -> None:
        self.state.report(name, outcome)
        for line in (*outcome.rejected, *filter(None, (outcome.error,))):
            LOG.error("bridge %s: %s", name, line)
        if outcome.settled and not self.state.workers[name].settled:
            for send in self.state.answers.refresh(name):
                self._send(send)

    @set_ev_cls([ofp_event.EventOFPFlowDescStatsReply, ofp_event.EventOFPGroupDescStatsReply,
                 ofp_event.EventOFPPortDescStatsReply, ofp_event.EventOFPBundleCtrlMsg,
                 ofp_event.EventOFPBarrierReply, ofp_event.EventOFPErrorMsg], MAIN_DISPATCHER)
    def answered(self, event):
        """An answer to something a bridge's worker asked."""
        channel = self._channels.get(event.msg.datapath.id)
        if channel is not None and not channel.deliver(event.msg) and isinstance(event.msg, encode.parser.OFPErrorMsg):
            LOG.warning("bridge %s refused a message: %s", self.state.bridge_of(channel), error_text(event.msg))

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def port_changed(self, event):
        """A port came, went or changed."""
        name = self.state.bridge_of(self._channels.get(event.msg.datapath.id))
        if name is not None:
            self.state.workers[name].wake()

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_arrived(self, event):
        """A flow handed a packet over."""
        packet = packet_in.parse(event.msg)
        name = self.state.bridge_of(self._channels.get(event.msg.datapath.id))
        if packet is not None and name is not None:
            for send in self.state.answers.handle(name, packet, time.monotonic()):
                self._send(send)

    def _send(self, send: Send) -> None:
        worker = self.state.workers.get(send.bridge)
        if worker is not None:
            datapath = worker.channel.datapath
            datapath.send_msg(encode.packet_out(datapath, send.data, encode.encode_actions(send.actions)))

    def _tick(self) -> None:
        """Ask again for neighbours that have not answered, and keep configured next hops known; for ever."""
        refreshed = time.monotonic()
        while True:
            hub.sleep(TICK)
            now = time.monotonic()
            refresh = now - refreshed >= NEXT_HOP_REFRESH
            if refresh:
                refreshed = now
            try:
                self._ask_again(now, refresh)
            except Exception:
                LOG.exception("asking for neighbours")

    def _ask_again(self, now: float, refresh: bool) -> None:
        sends = self.state.answers.tick(now)
        if refresh:
            sends += [send for name in self.state.workers for send in self.state.answers.refresh(name)]
        for send in sends:
            self._send(send)

    def _name_tables(self) -> None:
        """Whenever bridges have connected, give their tables names in the switch databases."""
        while True:
            self._unnamed.wait()
            hub.sleep(TICK)
            self._unnamed.clear()
            for remote in cfg.CONF.ovsdb:
                try:
                    changed = ovsdb.name_tables(remote, self.state.kinds())
                except ovsdb.OvsdbError as error:
                    LOG.warning("flow tables stay without names: %s", error)
                    self.state.alarms.raise_alarm(
                        "ovsdb_unreachable", "", remote, "LOW", f"flow tables have no names: {error}",
                        "correct `ovsdb` in the configuration file, or leave it out")
                else:
                    self.state.alarms.clear("ovsdb_unreachable", "", remote)
                    for bridge in changed:
                        LOG.info("bridge %s: flow tables named", bridge)
