"""Mininet's command line with the gateway's commands: ``owner``, ``path``, ``explain``, ``status``."""

from __future__ import annotations

import os
import shlex
import subprocess
from ipaddress import ip_address

from mininet.cli import CLI
from mininet.log import error, output

from topologies.controllers import program_environment
from topologies.errors import LabError
from topologies.hosts import VM, LabHost
from topologies.manager import program
from topologies.process import run


class SagaCLI(CLI):
    """Mininet's CLI; the extra commands run ``saga`` on the running network and print what it says."""

    prompt = "saga> "

    def saga(self, *arguments: str) -> None:
        """Run ``saga ARGUMENTS`` and print its output; a failure is printed, too."""
        try:
            result = run([program("saga"), *arguments], check=False, env={**os.environ, **program_environment(self.mn)})
        except LabError as problem:
            error(f"*** {problem}\n")
            return
        output(result.stdout)
        if result.returncode:
            error(f"{result.stderr}*** saga {' '.join(arguments)}: exit code {result.returncode}\n")

    def address(self, word: str, version: int = 4) -> str:
        """Return the address that a host's name stands for; anything else is returned as it is."""
        node = self.mn.nameToNode.get(word)
        if not isinstance(node, LabHost):
            return word
        return node.ip if version == 4 else node.ip6

    def version(self, *words: str) -> int:
        """Return the IP version of the first word that is an address, 4 if there is none."""
        for word in words:
            try:
                return ip_address(word).version
            except ValueError:
                continue
        return 4

    def do_owner(self, line: str) -> None:
        """owner ADDRESS: which service router owns connections with this remote address, and why."""
        words = shlex.split(line)
        vms = [host for host in self.mn.hosts if isinstance(host, VM)]
        if len(words) != 1 or not vms:
            error("usage: owner ADDRESS\n")
            return
        version = self.version(*words)
        self.saga("explain", "--src", self.address(vms[0].name, version), "--dst", self.address(words[0]))

    def do_path(self, line: str) -> None:
        """path SRC DST [PROTO DPORT]: the walk of both directions; hosts by name or address."""
        words = shlex.split(line)
        if len(words) not in (2, 4):
            error("usage: path SRC DST [PROTO DPORT]\n")
            return
        version = self.version(*words[:2])
        arguments = ["--src", self.address(words[0], version), "--dst", self.address(words[1], version)]
        if len(words) == 4:
            arguments += ["--proto", words[2], "--dport", words[3]]
        self.saga("explain", *arguments)

    def do_explain(self, line: str) -> None:
        """explain --src HOST --dst HOST [--proto PROTO --dport PORT]: as ``saga explain``; hosts by name or address."""
        words = shlex.split(line)
        version = self.version(*words)
        self.saga("explain", *(self.address(word, version) for word in words))

    def do_sh(self, line: str) -> None:
        """sh COMMAND: run a shell command beside the switches; ``saga`` and ``ovs-*`` ask this network."""
        subprocess.run(line, shell=True, check=False, env={**os.environ, **program_environment(self.mn)})

    def do_status(self, line: str) -> None:
        """status: gateways, service routers, ports and owner table, as the command ``saga show``."""
        self.saga("show", *shlex.split(line))
