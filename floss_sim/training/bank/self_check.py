"""Check that the bank's clients do not change each other's logits, on a few examples of the task.

The bank takes the rows of a layer's input for those of the examples, in their order, and pads texts
to the longest of all clients. A family of the model library may order rows otherwise, or read its
padding. Two clients are therefore computed together and alone.

Shapes: C clients, N entries of the layout, E examples, M targets, K classes or words.
"""

from __future__ import annotations

import numpy as np
import torch

from floss_sim.errors import ConfigError
from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.model import Bank, build_bank_model

_EXAMPLES = (2, 1)  # of each client
_SCALE = 0.05  # standard deviation of the clients' offsets
_SAME, _SAME_BF16 = 1e-3, 5e-2  # difference of logits, as a fraction of the largest


def check_clients(config: RunConfig, bank: Bank) -> None:
    """Check that two clients have the same logits together and alone.

    Args:
        config: The run.
        bank: Its bank.

    Raises:
        ConfigError: They have not, so that the bank cannot train this backbone.
        TaskError: The backbone cannot read the task's examples.
    """
    model = build_bank_model(config, bank.device, bank)
    draw = np.random.default_rng(0)
    offsets_CN = draw.normal(scale=_SCALE, size=(len(_EXAMPLES), model.layout.entries))
    values_CN = torch.from_numpy((model.base + offsets_CN).astype(np.float32)).to(bank.device)
    x_E = torch.from_numpy(config.task.content.train[0][: sum(_EXAMPLES)]).to(bank.device)
    if len(x_E) < sum(_EXAMPLES):
        return
    try:
        with torch.no_grad():
            bank.set_training(False)
            bank.bind([(model, values_CN)], train=False)
            together = _outputs(bank, x_E, _EXAMPLES)
            alone, parts = [], torch.split(x_E, list(_EXAMPLES))
            for client, part in enumerate(parts):
                bank.bind([(model, values_CN[client : client + 1])], train=False)
                alone.append(_outputs(bank, part, (len(part),)))
    except RuntimeError as error:
        raise _refusal(config, str(error).splitlines()[0]) from None
    near = (_SAME_BF16 if bank.bf16 else _SAME) * float(together.abs().max())
    if not torch.allclose(torch.cat(alone), together, rtol=0, atol=near):
        raise _refusal(config, "clients, or the padding of their texts, change each other's logits")


def _outputs(bank: Bank, x_E: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Return the logits of the targets of some examples, float32 of shape (M, K)."""
    classes_E = torch.zeros(len(x_E), dtype=torch.int64, device=bank.device)
    return bank.outputs(x_E, classes_E, [sizes])[0]


def _refusal(config: RunConfig, reason: str) -> ConfigError:
    family = config.task.backbone_config["model_type"]
    return ConfigError(
        f"the bank cannot train adapters on these modules of a {family} backbone: {reason}; "
        "valid: --learner sequential"
    )
