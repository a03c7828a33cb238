"""A client of the task for Flower, in a module that its workers can import."""

from __future__ import annotations

from functools import cache

import task
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from mlp import mlp
from torch.nn import functional

client_app = ClientApp()


@cache
def examples() -> list[torch.Tensor]:
    """Return all clients' examples and classes, made once in a worker."""
    torch.set_num_threads(1)
    return [torch.from_numpy(part) for part in task.clients()]


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train one client from the weights that it is sent."""
    x, y = (part[int(context.node_config["partition-id"])] for part in examples())
    model = mlp()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=task.LEARNING_RATE)
    for first in range(0, task.EXAMPLES, task.BATCH):
        batch = slice(first, first + task.BATCH)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    arrays, metrics = ArrayRecord(model.state_dict()), MetricRecord({"num-examples": len(x)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
