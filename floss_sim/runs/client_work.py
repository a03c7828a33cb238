"""Local work of a run: what a client trains, and the operations of its training."""

from __future__ import annotations

from floss_sim.families import FAMILIES, IMAGES
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.family_table import family_table
from floss_sim.families.model_table import ModelTable
from floss_sim.families.operations import count_operations
from floss_sim.families.sizes import image_positions
from floss_sim.families.trained_model import table_of_config
from floss_sim.families.trained_tensors import (
    LORA_A,
    WHOLE,
    TrainedModel,
    TrainedTensor,
    trained_tensors,
)
from floss_sim.methods import Method
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.tasks import Task
from floss_sim.tasks.sections import ClientSection
from floss_sim.vectors.layout import ADAPTER_LAYOUTS


def client_work(
    task: Task, method: Method, targets: tuple[str, ...], rank: int, client: ClientSection
) -> LocalWork:
    """Return the operations of a client's local training.

    All examples have the length of the longest: batches are padded. Of a method with several ranks
    the largest is counted.

    Args:
        task: The task.
        method: The method; says what trains.
        targets: Roles of the adapted modules.
        rank: LoRA rank.
        client: Settings of local SGD.

    Raises:
        TaskError: The data cannot be read.
        LayoutError: The backbone's config lacks a size.
    """
    table, trained = client_model(task, method, targets, rank)
    operations = count_operations(
        table,
        task.backbone_config,
        trained.tensors,
        example_tokens(task),
        checkpointing=client.gradient_checkpointing,
        dropout=task.lora.dropout > 0,
    )
    return LocalWork(operations, client.batch_size, client.epochs, client.precision)


def client_model(
    task: Task, method: Method, targets: tuple[str, ...], rank: int
) -> tuple[ModelTable, TrainedModel]:
    """Return the model of a task with its classes, and what trains; arguments as above.

    Raises:
        LayoutError: The backbone's config lacks a size, or the adapters do not fit it.
    """
    table = _table(task)
    tensors = _trained(table, method.trains, targets, rank)
    return table, TrainedModel(table.model_type, table.entries, table.head, tensors)


def _table(task: Task) -> ModelTable:
    if task.backbone_config.get("model_type") in FAMILIES:
        return family_table(task.backbone_config, task.labels)
    return table_of_config(task.backbone_config, task.kind).with_labels(task.labels)


def example_tokens(task: Task) -> int:
    """Return the tokens of an example; of an image its patches and the class token."""
    if task.kind == IMAGES:
        return image_positions(task.backbone_config)
    return int(task.content.train[0].shape[1])


def _trained(
    table: ModelTable, trains: str, targets: tuple[str, ...], rank: int
) -> tuple[TrainedTensor, ...]:
    """Return the tensors that train in a layout of :data:`floss_sim.vectors.layout.LAYOUTS`."""
    if trains in ADAPTER_LAYOUTS:
        found = trained_tensors(table, AdapterSettings(rank=rank, targets=targets))
        return tuple(t for t in found if trains == "lora" or t.part != LORA_A)
    in_head = {name for path in table.head for name in table.below(path)}
    return tuple(
        TrainedTensor(name, WHOLE, shape)
        for name, shape in table.parameters.items()
        if name in in_head or trains == "full" or (trains == "bitfit" and name.endswith(".bias"))
    )
