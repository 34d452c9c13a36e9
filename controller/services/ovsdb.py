"""The switch database: gives the flow tables of our bridges their names, so that dumps can be read.

OpenFlow has no message for this in Open vSwitch; the names are rows of ``Flow_Table``.  Waiting is cooperative: the
library's poller sleeps in the calling green thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ovs import jsonrpc, poller, stream
from ovs.db import idl

from controller.pipeline.tables import Kind, tables_of

TIMEOUT = 10.0
"""Seconds for a connection to the database to come up, and for a change to be taken."""


LONGEST_NAP = 100
"""Milliseconds after which the database library looks again, whatever it waits for."""


class OvsdbError(Exception):
    """The database cannot be reached or does not take a change."""


def table_names(kind: Kind) -> dict[int, str]:
    """Return the names of the tables of a kind of bridge by number."""
    return {table.number: table.name for table in tables_of(kind)}


def _schema(remote: str) -> idl.SchemaHelper:
    """Return the helper for the two tables that matter, with the schema that the database itself has."""
    error, connection = stream.Stream.open_block(stream.Stream.open(remote), timeout=int(TIMEOUT * 1000))
    if error:
        raise OvsdbError(f"{remote}: cannot connect (error {error})")
    rpc = jsonrpc.Connection(connection)
    try:
        error, reply = rpc.transact_block(jsonrpc.Message.create_request("get_schema", ["Open_vSwitch"]))
    finally:
        rpc.close()
    if error or reply.error:
        raise OvsdbError(f"{remote}: no schema: {error or reply.error}")
    helper = idl.SchemaHelper(None, reply.result)
    helper.register_columns("Bridge", ["name", "flow_tables"])
    helper.register_columns("Flow_Table", ["name"])
    return helper


def name_tables(remote: str, kinds: Mapping[str, Kind]) -> tuple[str, ...]:
    """Name the flow tables of bridges (name to kind) in the database at ``remote`` (``unix:…`` or ``tcp:…``).

    Bridges that the database does not have are passed over.  Returns the names of the bridges that were changed.
    Raises OvsdbError.
    """
    database = idl.Idl(remote, _schema(remote))
    try:
        _wait(database, lambda: database.run() or database.has_ever_connected(), remote)
        changed = []
        transaction = idl.Transaction(database)
        for bridge in database.tables["Bridge"].rows.values():
            if bridge.name not in kinds:
                continue
            rows, wanted = dict(bridge.flow_tables), table_names(kinds[bridge.name])
            stale = {number: name for number, name in wanted.items()
                     if number not in rows or rows[number].name != [name]}
            for number, name in stale.items():
                if number not in rows:
                    rows[number] = transaction.insert(database.tables["Flow_Table"])
                rows[number].name = name
            if stale:
                bridge.flow_tables = rows
                changed.append(bridge.name)
        _wait(database, lambda: transaction.commit() != idl.Transaction.INCOMPLETE, remote, transaction)
        status = transaction.commit()
        if status not in (idl.Transaction.SUCCESS, idl.Transaction.UNCHANGED):
            raise OvsdbError(f"{remote}: table names not taken: {status} {transaction.get_error() or ''}")
        return tuple(changed)
    finally:
        database.close()


def _wait(database: idl.Idl, condition: Callable[[], bool], remote: str,
          transaction: idl.Transaction | None = None) -> None:
    """Let the database library work until a condition holds.  Raises OvsdbError after TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise OvsdbError(f"{remote}: no answer within {TIMEOUT:g} s")
        waiter = poller.Poller()
        database.wait(waiter)
        if transaction is not None:
            transaction.wait(waiter)
        waiter.timer_wait(LONGEST_NAP)
        waiter.block()
        database.run()
