"""ClientApp: decodes a download, trains on the node's data, and replies with the update.

Where a method has private entries, the node measures its own model, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from logging import ERROR, WARNING, getLogger
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from floss_sim.deployment import NodeRun, check_framework
from floss_sim.errors import MissingStateError
from floss_sim.protocol import Dispatch

Work = Callable[[Message, Context], ConfigRecord]
RUN_FILE = Path(__file__).with_name("run.json")
logger = getLogger("flwr")
app = ClientApp()


def open_node(context: Context) -> NodeRun:
    """Return the run on this node; processes that handle several messages load it once."""
    names = ("data", "validation", "backbone")  # empty: none of its own
    paths = {name: str(context.node_config.get(f"{name}-path", "")) for name in names}
    return _opened(noise=str(context.run_config["noise"]), **paths)


@cache
def _opened(**given: str) -> NodeRun:
    check_framework()
    return NodeRun.open(RUN_FILE, **given)


@app.query()
def describe_node(message: Message, context: Context) -> Message:
    """Reply with the number of the node's partition; -1 if its data are its own."""
    own = bool(context.node_config.get("data-path"))
    number = -1 if own else int(context.node_config["partition-id"])
    return Message(RecordDict({"node": ConfigRecord({"partition": number})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Reply with the encoded update and the number of examples, and nothing else."""
    return answer(message, context, "upload", train_download)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Reply with accuracy and loss of the node's own model on data like its own; nothing else."""
    return answer(message, context, "own", measure_own_model)


def answer(message: Message, context: Context, name: str, work: Work) -> Message:
    """Reply with what a piece of work returns.

    A reason why it fails may hold parts of the data, so that it stays in the node's log.
    """
    kind = message.metadata.message_type
    try:
        made = work(message, context)
    except MissingStateError as error:
        logger.log(ERROR, "cannot %s: %s", kind, error)
        made = ConfigRecord({"lacks": True})
    except Exception as error:
        logger.log(ERROR, "cannot %s: %s", kind, error)
        raise RuntimeError(f"the node cannot {kind}; its log says why") from None
    return Message(RecordDict({name: made}), reply_to=message)


def train_download(message: Message, context: Context) -> ConfigRecord:
    """Return the update of a download and its number of examples, and keep the node's states."""
    dispatch, heard = read_download(message)
    upload = open_node(context).train(dispatch, kept_state(context.state, heard))
    keep_states(context.state, upload.sequence, upload.client_state, upload.lost_state)
    return ConfigRecord({"payload": upload.blob, "examples": upload.examples})


def measure_own_model(message: Message, context: Context) -> ConfigRecord:
    """Return accuracy and loss of the node's own model, and export it if a folder is given."""
    dispatch, heard = read_download(message)
    out = str(context.node_config.get("own-model-path", ""))
    state = kept_state(context.state, heard)
    return ConfigRecord(asdict(open_node(context).evaluate(dispatch, state, out)))


def read_download(message: Message) -> tuple[Dispatch, int]:
    """Return a download, and the sequence of the node's last upload that was aggregated."""
    download = message.content.config_records["download"]
    payload, keys = download["payload"], ("sequence", "client", "version", "held", "heard")
    numbers = [number for key in keys if isinstance(number := download[key], int)]
    if not isinstance(payload, bytes) or len(numbers) < len(keys):
        raise TypeError("the download is no bytes with whole numbers")
    sequence, client, version, held, heard = numbers
    return Dispatch(sequence, client, version, len(payload), 0, payload, held), heard


def kept_state(state: RecordDict, heard: int) -> dict[str, NDArray[np.float32]]:
    """Return what the node keeps between rounds, such as the residual of error feedback.

    Args:
        state: The records that stay on the node.
        heard: Sequence of the node's last upload that the server aggregated.
    """
    if "last" not in state:
        if heard >= 0:
            logger.log(WARNING, "what this node kept between rounds is lost: it begins anew")
        return {}
    arrived = state.config_records["last"]["sequence"] == heard
    kept = [state.array_records[name] for name in ("both", "arrived" if arrived else "lost")]
    return {name: array.numpy() for record in kept for name, array in record.items()}


def keep_states(
    state: RecordDict,
    sequence: int,
    arrived: Mapping[str, NDArray[np.float32]],
    lost: Mapping[str, NDArray[np.float32]],
) -> None:
    """Keep both states: the next download says whether the update has arrived or was lost."""
    both = {name: values for name, values in arrived.items() if values is lost.get(name)}
    for place, arrays in (("both", both), ("arrived", arrived), ("lost", lost)):
        own = {name: Array(values) for name, values in arrays.items()
               if place == "both" or name not in both}  # fmt: skip
        state[place] = ArrayRecord(own)
    state["last"] = ConfigRecord({"sequence": sequence})
