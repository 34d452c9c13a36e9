"""For ``mn``: mn --custom mininet/vm_a_to_host_b.py --topo vm_a_to_host_b --switch saga --controller saga

Open vSwitch must run (service openvswitch-switch start), and ``make setup`` must have been done.
"""

import os
import site
import sys

# mn runs this file with the system's Python and without __file__; the project and its packages are found by the path
# mn has compiled this file under.
_root = os.path.dirname(os.path.dirname(os.path.abspath((lambda: None).__code__.co_filename)))
sys.path.insert(0, _root)
_python = f"python{sys.version_info.major}.{sys.version_info.minor}"
site.addsitedir(os.path.join(_root, ".venv", "lib", _python, "site-packages"))

from topologies.custom import entries  # noqa: E402
from topologies.vm_a_to_host_b import VmAToHostB  # noqa: E402

globals().update(entries("vm_a_to_host_b", VmAToHostB))
