"""Activations that a layer keeps for its backward pass, with frozen weights and adapters.

Autograd keeps of an operation what its gradients need. A frozen matrix needs its weight alone, not
its input. Kept, in values of one token, are therefore

- of attention: queries, keys, values and the attended values (fused attention keeps no weights;
  with dropout a processor computes it in steps, and keeps three rows of weights for each head and
  token instead of the attended values);
- of a norm its input;
- of an MLP the input of its activation function, and of a gated one the gate's output and the other
  factor; a function that is written out in Python keeps each of its factors;
- of an adapter the input of A, once for modules with the same input, and of B the output of A; DoRA
  keeps the outputs of the frozen module and of the adapter;
- of a dropout its mask.

Layers below the first one that trains something keep nothing. The backward pass of a layer needs
room for gradients besides: three times the inner width of a gated MLP, twice that of another one.

W is the width of a layer, I the inner width of its MLP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from floss_sim.families import Config
from floss_sim.families.experts import active_experts, expert_parameters
from floss_sim.families.model_table import CONV1D, CONV2D, EMBEDDING, ModelTable, Shape
from floss_sim.families.module_roles import layer_of, names_by_layer, role_of, stack_of
from floss_sim.families.trained_tensors import (
    LORA_B,
    LORA_SQUARE,
    MAGNITUDE,
    WHOLE,
    TrainedTensor,
)

_ATTENTION_ROWS = 3  # softmax, dropout's mask, and their product
_FACTORS = {"gelu_new": 4, "gelu_fast": 5, "quick_gelu": 2, "gelu_python": 3}  # kept, of I values
_FUNCTION_KEYS = ("hidden_act", "hidden_activation", "activation_function", "activation")
_FUNCTIONS = {"gpt2": "gelu_new", "gptj": "gelu_new", "phi": "gelu_new", "clip": "quick_gelu",
              "clip_vision_model": "quick_gelu"}  # fmt: skip
_DROPPING = ("bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "gpt2",
             "roberta", "xlm-roberta")  # families with dropout by default # fmt: skip
_HIDDEN_RATES = ("hidden_dropout_prob", "resid_pdrop", "dropout", "hidden_dropout")
_ATTENTION_RATES = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")
_INPUTS = {"q": "attention", "k": "attention", "v": "attention", "qkv": "attention", "o": "o",
           "mlp_gate": "mlp", "mlp_in": "mlp", "mlp_gate_in": "mlp",
           "mlp_out": "mlp_out"}  # fmt: skip


@dataclass(frozen=True)
class LayerActivations:
    """Values of one token in a layer that has a backward pass.

    Attributes:
        input: Values of its input.
        kept: Values that it keeps for its backward pass.
        working: Values of gradients while its backward pass is computed.
    """

    input: int
    kept: int
    working: int


def layer_activations(
    table: ModelTable,
    config: Config,
    trained: Sequence[TrainedTensor],
    tokens: int,
    heads: int,
    *,
    dropout: bool = False,
) -> list[LayerActivations]:
    """Return the layers with a backward pass, from the first one that trains something.

    Args:
        table: The model, its classes filled in.
        config: The content of its ``config.json``.
        trained: The tensors that train.
        tokens: Tokens of an example.
        heads: Attention heads of a layer.
        dropout: Whether the input of adapters has dropout.
    """
    adapters = _adapters(trained)
    trains = {(stack_of(t.module), layer_of(t.module)) for t in trained}
    from_start = any(layer_of(t.module) is None and "embed" in t.module for t in trained)
    layers = names_by_layer((*table.modules, *table.parameters))
    live, found = dict[str | None, bool](), []
    groups: tuple[Iterable[str], ...] = (
        table.modules,
        table.parameters,
        expert_parameters(table),
        adapters,
    )
    kinds = ("modules", "parameters", "experts", "adapters")
    places = {kind: names_by_layer(names) for kind, names in zip(kinds, groups, strict=True)}
    for stack, layer in (key for key in layers if key[1] is not None):
        live[stack] = live.get(stack, from_start) or (stack, layer) in trains
        if live[stack]:
            inside = {kind: names.get((stack, layer), []) for kind, names in places.items()}
            one = _Layer(table, config, adapters, inside)
            found.append(one.activations(tokens, heads, dropout))
    return found


def _adapters(trained: Iterable[TrainedTensor]) -> dict[str, tuple[int, bool]]:
    """Return rank and whether it is DoRA of each adapted module; rank 0 where it trains whole."""
    weights = (t.module for t in trained if t.part == WHOLE and t.module.endswith(".weight"))
    ranks = {name.removesuffix(".weight"): 0 for name in weights}
    ranks |= {t.module: t.shape[1] for t in trained if t.part == LORA_B}
    ranks |= {t.module: t.shape[0] * t.shape[1] for t in trained if t.part == LORA_SQUARE}
    doras = {t.module for t in trained if t.part == MAGNITUDE}
    return {path: (rank, path in doras) for path, rank in ranks.items()}


class _Layer:
    """Modules, norms and adapters of a layer."""

    def __init__(
        self,
        table: ModelTable,
        config: Config,
        adapters: Mapping[str, tuple[int, bool]],
        inside: Mapping[str, Sequence[str]],
    ) -> None:
        self._config = config
        self._sides = {
            path: _sides(table, path)
            for path in inside["modules"]
            if table.modules[path] not in (EMBEDDING, CONV2D)
        }
        norms = [name for name in inside["parameters"] if _is_norm(name)]
        self._norms = {name: table.parameters[name][0] for name in norms}
        self._experts = {name: table.parameters[name] for name in inside["experts"]}
        self._adapters = {path: adapters[path] for path in inside["adapters"]}

    def activations(self, tokens: int, heads: int, dropout: bool) -> LayerActivations:
        """Return the values of one token."""
        width, inner, gated = self._width(), self._inner(), self._is_gated()
        kept = self._attention(tokens, heads) + self._norm_values(width)
        kept += self._mlp(inner, gated, width) + self._adapter_values(dropout)
        kept += sum(out for path, (out, _) in self._sides.items() if role_of(path) is None)
        if _rate(self._config, _HIDDEN_RATES):
            kept += 2 * width
        return LayerActivations(width, kept, (2 + gated) * inner + width)

    def _of(self, *roles: str) -> list[Shape]:
        return [sides for path, sides in self._sides.items() if role_of(path) in roles]

    def _width(self) -> int:
        """Return W: the input of the first matrix, else the size of a norm."""
        first = next(iter(self._sides.values()), None)
        return first[1] if first else max(self._norms.values(), default=0)

    def _inner(self) -> int:
        """Return I: the input of the last matrix of the MLP, or the output of its first one."""
        found = [in_ for _, in_ in self._of("mlp_out")] or [out for out, _ in self._of("mlp_in")]
        active = min(active_experts(self._config), max((s[0] for s in self._stacked()), default=1))
        width, stacked = self._width(), self._stacked()
        sides = [side for _, *pair in stacked for side in pair if side != width]
        of_expert = min(sides, default=width) if stacked else 0
        return max(found, default=0) + active * of_expert

    def _stacked(self) -> list[Shape]:
        """Return the shapes of parameters that hold all experts of the layer."""
        return [shape for shape in self._experts.values() if len(shape) == 3]

    def _is_gated(self) -> bool:
        return bool(self._of("mlp_gate", "mlp_gate_in") or self._stacked())

    def _attention(self, tokens: int, heads: int) -> int:
        """Return the values that attention keeps."""
        projected = self._of("q", "k", "v", "qkv")
        if not projected:
            return 0
        attended = sum(in_ for _, in_ in self._of("o")) or max(out for out, _ in projected)
        if _rate(self._config, _ATTENTION_RATES):
            attended = _ATTENTION_ROWS * heads * tokens
        return sum(out for out, _ in projected) + attended

    def _norm_values(self, width: int) -> int:
        """Return the inputs of all norms; those of queries and keys are as long as these."""
        short = {"q_norm": self._of("q"), "k_norm": self._of("k")}
        total = 0
        for name, size in self._norms.items():
            of = next((sides for word, sides in short.items() if word in name), None)
            total += sum(out for out, _ in of) if of else min(size, width)
        return total

    def _mlp(self, inner: int, gated: bool, width: int) -> int:
        """Return the values that the MLP keeps; experts keep the inputs of their tokens, too."""
        copies = width * active_experts(self._config) if self._stacked() else 0
        return (_factors(self._config) + 2 * gated) * inner + copies

    def _adapter_values(self, dropout: bool) -> int:
        """Return the values that adapters keep."""
        total, inputs = 0, dict[str, int]()
        for path, (rank, is_dora) in self._adapters.items():
            out, in_ = self._sides.get(path, (0, 0))
            total += rank + 2 * out * is_dora + 2 * in_ * dropout
            role = role_of(path)
            inputs[_INPUTS.get(role, path) if role else path] = in_
        return total if dropout else total + sum(inputs.values())


def _sides(table: ModelTable, path: str) -> Shape:
    """Return output and input width of a linear module."""
    out, in_ = table.weight_shape(path)[:2]
    return (in_, out) if table.modules[path] == CONV1D else (out, in_)


def _is_norm(name: str) -> bool:
    """Return whether a parameter is the weight of a norm."""
    parts = name.split(".")
    if parts[-1] != "weight" or len(parts) < 2:
        return False
    return "norm" in parts[-2].lower() or parts[-2].startswith("ln")


def _factors(config: Config) -> int:
    """Return how many values of each inner one the activation function keeps."""
    stated = next((config[key] for key in _FUNCTION_KEYS if config.get(key)), None)
    return _FACTORS.get(str(stated or _FUNCTIONS.get(str(config.get("model_type")))), 1)


def _rate(config: Config, keys: Sequence[str]) -> float:
    """Return a dropout rate of the model; by default that of its family."""
    stated = [config[key] for key in keys if isinstance(config.get(key), int | float)]
    by_default = 0.1 if config.get("model_type") in _DROPPING else 0.0
    return max(map(float, stated), default=by_default)
