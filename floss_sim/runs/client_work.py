"""Local work of a run: what a client trains, and the operations of its training."""

from __future__ import annotations

from floss_sim.families import IMAGES, model_inputs
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.operations import count_operations
from floss_sim.families.trained_model import sized_table
from floss_sim.families.trained_tensors import (
    WHOLE,
    TrainedModel,
    TrainedTensor,
    trained_tensors,
)
from floss_sim.methods import Method
from floss_sim.network.devices.local_work import LocalWork, forward_work
from floss_sim.tasks import Task
from floss_sim.tasks.sections import ClientSection
from floss_sim.vectors.adapter_layout import seed_tensor, trained_of_layout
from floss_sim.vectors.layout import ADAPTER_LAYOUTS


def client_work(
    task: Task, method: Method, settings: AdapterSettings, client: ClientSection
) -> LocalWork:
    """Return the operations of a client's local training.

    All examples have the length of the longest: batches are padded. Of a method with several ranks
    the largest is counted.

    Args:
        task: The task.
        method: The method; says what trains.
        settings: The adapters.
        client: Settings of local SGD.

    Raises:
        TaskError: The data cannot be read.
        LayoutError: The backbone's config lacks a size.
    """
    table, trained = client_model(task, method, settings)
    zeroth_order = method.zeroth_order
    operations = count_operations(
        table,
        task.backbone_config,
        () if zeroth_order else trained.tensors,
        example_tokens(task),
        checkpointing=client.gradient_checkpointing,
        dropout=task.lora.dropout > 0,
    )
    passes = client.epochs * method.local_passes
    if zeroth_order:
        return forward_work(operations, zeroth_order.steps, client.batch_size, client.precision)
    return LocalWork(operations, client.batch_size, passes, client.precision)


def client_model(
    task: Task, method: Method, settings: AdapterSettings
) -> tuple[ModelTable, TrainedModel]:
    """Return the model of a task with its classes, and what trains; arguments as above.

    Raises:
        LayoutError: The backbone's config lacks a size, or the adapters do not fit it.
    """
    table = sized_table(task.backbone_config, task.kind, task.labels)
    tensors = _trained(table, method, settings)
    return table, TrainedModel(table.model_type, table.entries, table.head, tensors)


def example_tokens(task: Task) -> int:
    """Return the tokens of an example; of an image its patches and the class token."""
    if task.kind == IMAGES:
        inputs = model_inputs(task.backbone_config, task.kind)
        return inputs.image_tokens(task.preprocess.image_size)
    return int(task.content.train[0].shape[1])


def _trained(
    table: ModelTable, method: Method, settings: AdapterSettings
) -> tuple[TrainedTensor, ...]:
    """Return the tensors that a method trains."""
    trains = method.trains
    if method.zeroth_order:
        return (seed_tensor(method.zeroth_order.seeds),)
    if trains in ADAPTER_LAYOUTS:
        return trained_of_layout(trained_tensors(table, settings), trains, method.heads)
    in_head = {name for path in table.head for name in table.below(path)}
    return tuple(
        TrainedTensor(name, WHOLE, shape)
        for name, shape in table.parameters.items()
        if name in in_head or trains == "full" or (trains == "bitfit" and name.endswith(".bias"))
    )
