"""Routes of ``/saga/v1``.  Bodies are JSON; errors are ``{"error": …, "problems": [{"path", "message"}]}``."""

from __future__ import annotations

import json

from ryu.app.wsgi import ControllerBase, Response, route

from controller.model import ModelError

API_NAME = "saga_app"
BASE = "/saga/v1"


def _json(body: object, status: int = 200) -> Response:
    return Response(content_type="application/json", charset="utf-8", status=status,
                    body=json.dumps(body, indent=1).encode())


class SagaApi(ControllerBase):
    """What people and tests ask the controller."""

    def __init__(self, req, link, data, **config):
        super().__init__(req, link, data, **config)
        self._app = data[API_NAME]

    @route("saga", BASE + "/health", methods=["GET"])
    def health(self, req, **_):
        """State of every bridge: connected, settled, round, counters."""
        return _json(self._app.state.health())

    @route("saga", BASE + "/gateways", methods=["GET"])
    def gateways(self, req, **_):
        """Gateways with their routers, ports and owner tables."""
        return _json(self._app.state.gateways())

    @route("saga", BASE + "/alarms", methods=["GET"])
    def alarms(self, req, **_):
        """Open alarms with cause and remedy."""
        return _json([alarm.as_dict() for alarm in self._app.state.alarms.open()])

    @route("saga", BASE + "/reload", methods=["POST"])
    def reload(self, req, **_):
        """Read the gateway file again; 400 with the problems, and nothing changed, where it is not valid."""
        try:
            self._app.reload()
        except ModelError as error:
            return _json({"error": "the gateway file is not valid; nothing was changed",
                          "problems": [{"path": problem.path, "message": problem.message}
                                       for problem in error.problems]}, 400)
        return _json(self._app.state.health())

    @route("saga", BASE + "/audit", methods=["POST"])
    def audit(self, req, **_):
        """Compare every bridge with its desired program now, and repair it."""
        for worker in self._app.state.workers.values():
            worker.audit()
        return _json({}, 202)
