"""``ryu-manager`` and ``saga-manager``: Ryu's own manager, started in a way that works today, with safe defaults.

Signals, while the manager runs (eventlet's hub restarts an interrupted wait, so a plain Python signal handler would
run late and inside an arbitrary green thread; here the number of the signal travels through a pipe to a green thread
of its own):

* SIGTERM and SIGINT stop the applications and end the process with exit code 0;
* SIGHUP runs, each in a new green thread, the callables given to :func:`on_hangup`; without any it does nothing.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from typing import Any, Callable, Sequence

from controller import compat, options

LOG = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
LOG_TIME = "%Y-%m-%dT%H:%M:%S"
ACCESS_LOG = re.compile(r"\(\d+\) (wsgi starting|accepted) |.*\" [1-4]\d\d \d+ \d+\.\d+$")
STOP_TIMEOUT = 5.0  # seconds that the applications have to end before the process ends without them

# Ryu listens to the whole world and never notices a dead switch unless told to.
DEFAULTS = {
    "wsapi_host": "127.0.0.1",
    "wsapi_port": 8080,
    "ofp_listen_host": "127.0.0.1",
    "ofp_tcp_listen_port": 6653,  # set, so that Ryu does not open the old port 6633 as well
    "ofp_ssl_listen_port": 6653,
    "echo_request_interval": 3.0,
    "maximum_unreplied_echo_requests": 5,
}

_hangup_callbacks: list[Callable[[], None]] = []


def on_hangup(callback: Callable[[], None]) -> None:
    """Have ``callback`` called, without arguments and in a green thread of its own, at every SIGHUP from now on.

    It may block; what it raises is logged and ends nothing.  Calls of two signals that come close may overlap.
    """
    _hangup_callbacks.append(callback)


def main(args: Sequence[str] | None = None) -> int | None:
    """Run ``ryu-manager`` with ``args`` (default: the command line); return or raise the exit code of the process."""
    return _run(args, prog="ryu-manager", default_apps=[])


def saga_main(args: Sequence[str] | None = None) -> int | None:
    """Run ``saga-manager``: ``ryu-manager`` that loads ``controller.app`` besides the applications named."""
    return _run(args, prog="saga-manager", default_apps=["controller.app"])


def _run(args: Sequence[str] | None, prog: str, default_apps: list[str]) -> int | None:
    compat.prepare_eventlet()
    compat.patch_parsers()
    compat.register_fields()
    compat.patch_ofctl_rest()
    _format_log()

    from oslo_config import cfg
    from ryu.cmd import manager

    for name, value in DEFAULTS.items():
        manager.CONF.set_default(name, value)
    manager.CONF.set_default("app_lists", default_apps)
    options.register(manager.CONF)
    stopper = _Stopper()
    _fail_when_port_is_taken(stopper)
    _handle_signals(stopper)
    try:
        return manager.main(args=None if args is None else list(args), prog=prog)
    except cfg.ConfigFilesNotFoundError as error:
        print(f"{prog}: no such configuration file: {', '.join(error.config_files)}", file=sys.stderr)
    except (cfg.ConfigFileParseError, cfg.ConfigFileValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
    return 2


def _format_log() -> None:
    """Give Ryu's log handlers a format (it has none) and hide what it logs of its own start and of every request."""
    from ryu import log

    formatter = logging.Formatter(LOG_FORMAT, LOG_TIME)
    early_init_log, init_log = log.early_init_log, log.init_log

    def early(level: int | None = None) -> None:
        early_init_log(logging.INFO)
        log._EARLY_LOG_HANDLER.setFormatter(formatter)

    def late() -> None:
        init_log()
        if log.CONF.log_config_file:
            return
        for handler in logging.getLogger().handlers:
            handler.setFormatter(formatter)
        if not log.CONF.verbose:
            logging.getLogger("ryu.lib.hub").addFilter(_is_news)

    log.early_init_log, log.init_log = early, late


def _is_news(record: logging.LogRecord) -> bool:
    """False for the access log of REST, which comes the same way as its tracebacks; requests that failed are news."""
    return not ACCESS_LOG.match(record.getMessage())


class _Stopper:
    """Ends the process from a green thread, by an exception in the main one, where Ryu's manager waits."""

    def __init__(self) -> None:
        import greenlet

        self._main = greenlet.getcurrent()
        self._stopping = False

    def in_main(self) -> bool:
        """True in the green thread in which Ryu's manager runs."""
        import greenlet

        return greenlet.getcurrent() is self._main

    def stop(self, code: int) -> None:
        """End the process with ``code``, after the applications; at once with 1 if they take too long."""
        import eventlet
        from eventlet import hubs

        if self._stopping:
            return
        self._stopping = True
        eventlet.spawn_after(STOP_TIMEOUT, self._give_up)
        hubs.get_hub().schedule_call_global(0, self._main.throw, SystemExit(code))

    @staticmethod
    def _give_up() -> None:
        LOG.error("the applications did not end within %g s", STOP_TIMEOUT)
        logging.shutdown()
        os._exit(1)


def _handle_signals(stopper: _Stopper) -> None:
    import eventlet
    from eventlet.greenio import GreenPipe

    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    numbers = GreenPipe(readable, "rb", 0)

    def watch() -> None:
        while True:
            for number in numbers.read(1):
                if number == signal.SIGHUP:
                    for callback in _hangup_callbacks:
                        eventlet.spawn(_guarded, callback)
                elif number in (signal.SIGTERM, signal.SIGINT):
                    LOG.info("%s: stopping", signal.Signals(number).name)
                    stopper.stop(0)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _only_wake_up)
    eventlet.spawn(watch)


def _only_wake_up(number: int, frame: Any) -> None:
    """Signal handler that leaves everything to the reader of the wake-up pipe."""


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        LOG.exception("SIGHUP: %r failed", callback)


def _fail_when_port_is_taken(stopper: _Stopper) -> None:
    """End the process with exit code 1 when it cannot listen; Ryu logs a traceback and goes on without the port."""
    from ryu.lib import hub

    listen = hub.StreamServer.__init__

    def init(self: Any, listen_info: tuple[str, int], *args: Any, **kwargs: Any) -> None:
        try:
            listen(self, listen_info, *args, **kwargs)
        except OSError as error:
            LOG.critical("cannot listen on %s port %s: %s", *listen_info, error.strerror or error)
            if stopper.in_main():
                raise SystemExit(1) from None
            stopper.stop(1)
            raise hub.TaskExit from None

    hub.StreamServer.__init__ = init
