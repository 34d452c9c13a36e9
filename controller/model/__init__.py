"""The model: gateway files and what they mean.

``load`` and ``loads`` turn a gateway file into a ``Config`` or raise ``ModelError``; ``config_alarms`` tells what is
unwise in it.  Nothing here imports Ryu.
"""

from __future__ import annotations

from controller.model.gateway import Config
from controller.model.loader import load, loads
from controller.model.problems import ModelError, Problem
from controller.model.warnings import ConfigAlarm, config_alarms

__all__ = ["Config", "ConfigAlarm", "ModelError", "Problem", "config_alarms", "load", "loads"]
