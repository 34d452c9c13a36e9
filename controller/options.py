"""The options of the configuration file and command line that are ours (Ryu's own: ``ryu-manager --help``).

No Ryu in here, so that tools can name the options without starting the machinery of the controller.
"""

from __future__ import annotations

from oslo_config import cfg

OPTIONS = (
    cfg.StrOpt(
        "gateway-file",
        metavar="FILE",
        help="YAML file that describes the gateways; a relative path starts at the working directory",
    ),
    cfg.MultiStrOpt(
        "ovsdb",
        default=[],
        metavar="REMOTE",
        help="Open vSwitch database whose bridges get the names of their flow tables; may be given several times",
    ),
    cfg.FloatOpt(
        "audit-interval",
        default=30.0,
        min=0.5,
        metavar="SECONDS",
        help="time between comparisons of every bridge with its desired program",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known to ``conf``, as options of its files and as flags (``--gateway-file``).

    Raises ``oslo_config.cfg.ArgsAlreadyParsedError`` when ``conf`` has already read its command line.
    """
    conf.register_cli_opts(OPTIONS)
