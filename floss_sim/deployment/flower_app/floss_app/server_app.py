"""ServerApp: opens rounds, hands replies to the run, and writes its record."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from logging import INFO, WARNING, getLogger
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Strategy

from floss_sim.deployment import (
    ClosedRound,
    Reply,
    ServerRun,
    check_framework,
    open_server,
    read_run_file,
)
from floss_sim.protocol import Dispatch

RUN_FILE = Path(__file__).with_name("run.json")
logger = getLogger("flwr")
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the run of ``run.json`` on the connected nodes."""
    config = context.run_config
    framework = check_framework()
    data, backbone = str(config["data-path"]), str(config["backbone-path"])
    run = read_run_file(RUN_FILE, dataset=data, backbone=backbone)
    run = run.with_rounds(int(config["num-server-rounds"])).with_noise(str(config["noise"]))
    with open_server(run, Path(str(config["record-path"])), framework) as server:
        wait_s, reply_s = float(config["wait-for-nodes-s"]), float(config["reply-timeout-s"])
        fleet, end_s = run.config.fleet.clients, time.monotonic() + wait_s
        while len(list(grid.get_node_ids())) < fleet and time.monotonic() < end_s:
            time.sleep(1)
        strategy = CohortStrategy(server, reply_s)
        strategy.start(grid, ArrayRecord(), num_rounds=run.rounds, timeout=reply_s)
        logger.log(INFO, "record and model: %s", server.finish())


def find_clients(
    grid: Grid, fleet: int, reply_s: float, known: Mapping[int, int]
) -> dict[int, int]:
    """Return the node of each client number; nodes that are not known are asked for theirs.

    A node with data of its own gets the lowest free number; any other node has its partition's.
    The number of a node that is connected is not free: one that was restarted is a new node.
    """
    ids = set(grid.get_node_ids())
    asked = [
        Message(RecordDict({"asked": ConfigRecord()}), dst_node_id=node, message_type="query")
        for node in sorted(ids - set(known.values()))
    ]
    said = dict[int, int]()
    for message in grid.send_and_receive(asked, timeout=reply_s) if asked else ():
        if message.has_error():
            logger.log(WARNING, "a node is left out: %s", message.error.reason)
        else:
            said[message.metadata.src_node_id] = read_partition(message)
    free = [number for number in range(fleet) if known.get(number) not in ids]
    found = {said[node]: node for node in sorted(said) if said[node] in free}
    own = [node for node in sorted(said) if said[node] < 0]
    others = (number for number in free if number not in found)
    return {**known, **found, **dict(zip(others, own, strict=False))}


class CohortStrategy(Strategy):
    """Asks the cohort of each round, and aggregates in the order in which it was drawn."""

    def __init__(self, server: ServerRun, reply_s: float) -> None:
        self.server = server
        self.reply_s = reply_s
        self.nodes: dict[int, int] = {}  # by client

    def summary(self) -> None:
        """Log the run."""
        for line in self.server.summary():
            logger.log(INFO, "%s", line)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return the download of each client of the cohort, as one value of bytes."""
        fleet = self.server.run.config.fleet.clients
        known, self.nodes = self.nodes, find_clients(grid, fleet, self.reply_s, self.nodes)
        self.server.forget_nodes(c for c, node in known.items() if self.nodes[c] != node)
        return [self._message(d, server_round) for d in self.server.open_round(self.nodes)]

    def _message(self, dispatch: Dispatch, server_round: int, kind: str = "train") -> Message:
        download = ConfigRecord(
            {
                "payload": dispatch.blob,
                "client": dispatch.client,
                "sequence": dispatch.sequence,
                "version": dispatch.version,
                "held": dispatch.held,
                "heard": self.server.heard(dispatch.client),
            }
        )
        return Message(
            RecordDict({"download": download}),
            dst_node_id=self.nodes[dispatch.client],
            message_type=kind,
            group_id=str(server_round),
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Hand the replies to the run; return its metrics where the model was evaluated."""
        received = self._by_client(replies, "upload")
        return None, metrics_of(self.server.close_round(received))

    def _by_client(self, replies: Iterable[Message], name: str) -> dict[int, Reply]:
        """Return a record of the replies by client; those of unknown nodes are left out."""
        clients = {node: client for client, node in self.nodes.items()}
        return {
            client: read_reply(message, name)
            for message in replies
            if (client := clients.get(message.metadata.src_node_id)) is not None
        }

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return a download for each node that shall measure its own model; else no message.

        The server itself evaluates the global model.
        """
        due = self.server.open_evaluation(self.nodes)
        return [self._message(dispatch, server_round, "evaluate") for dispatch in due]

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the means over the nodes that have measured their own models, if any was asked."""
        return metrics_of(self.server.close_evaluation(self._by_client(replies, "own")))


def metrics_of(closed: ClosedRound) -> MetricRecord | None:
    """Log which clients are left out; return the metrics, if there are any."""
    for client, reason in closed.refused.items():
        logger.log(WARNING, "client %d is left out: %s", client, reason)
    metrics = MetricRecord({name: float(value) for name, value in closed.metrics.items()})
    return metrics if closed.metrics else None


def read_partition(message: Message) -> int:
    """Return the number of a node's partition; -1 for data of its own, or an answer without one."""
    number = message.content.config_records.get("node", ConfigRecord()).get("partition")
    return number if isinstance(number, int) else -1


def read_reply(message: Message, name: str) -> Reply:
    """Return a record of a node's reply as it came, or the reason why there is none."""
    if message.has_error():
        return message.error.reason or "the node replied with an error"
    return message.content.config_records.get(name, ConfigRecord())
