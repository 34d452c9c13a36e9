"""A small application for the launcher's tests: what it knows can be asked for at /scratch."""

from __future__ import annotations

from typing import Any

from ryu.app.wsgi import ControllerBase, WSGIApplication, route
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_5
from webob import Response

from controller import launcher


class ScratchApp(app_manager.RyuApp):
    """Remembers which switches are connected and how often SIGHUP came."""

    OFP_VERSIONS = [ofproto_v1_5.OFP_VERSION]
    _CONTEXTS = {"wsgi": WSGIApplication}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connected: set[int] = set()
        self.hangups = 0
        kwargs["wsgi"].register(ScratchRest, {"app": self})
        launcher.on_hangup(self._fail)
        launcher.on_hangup(self._count)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def state_changed(self, event: ofp_event.EventOFPStateChange) -> None:
        if event.state == MAIN_DISPATCHER:
            self.connected.add(event.datapath.id)
        else:
            self.connected.discard(event.datapath.id)

    def _fail(self) -> None:
        raise RuntimeError("one failing hook stops no other")

    def _count(self) -> None:
        hub.sleep(0.01)
        self.hangups += 1


class ScratchRest(ControllerBase):
    """The REST side of it."""

    def __init__(self, request: Any, link: Any, data: Any, **config: Any) -> None:
        super().__init__(request, link, data, **config)
        self.app = data["app"]

    @route("scratch", "/scratch")
    def scratch(self, request: Any, **_: Any) -> Response:
        return Response(
            json_body={
                "connected": sorted(self.app.connected),
                "hangups": self.app.hangups,
                "gateway_file": self.app.CONF.gateway_file,
            }
        )

    @route("scratch", "/fail")
    def fail(self, request: Any, **_: Any) -> Response:
        raise RuntimeError("this request fails")

    @route("scratch", "/stick")
    def stick(self, request: Any, **_: Any) -> Response:
        """Give the application a thread that does not end when it is told to."""
        self.app.threads.append(hub.spawn(hub.sleep, 3600))
        return Response(json_body={})
