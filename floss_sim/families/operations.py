"""Operations of a local training step: a closed form of the matrix products of a model.

A product of an (m, k) and a (k, n) matrix takes 2 m k n operations, a multiplication and an
addition for each term, as torch's ``FlopCounterMode`` counts. All else (norms, activations,
embeddings, softmax) is linear in the sizes and is not counted. The formula is that of Kaplan et al.
(Scaling laws for neural language models, 2020, table 1) for the forward pass; the backward pass
follows from the chain rule, matrix by matrix:

- the gradient of a matrix's input takes as much as its forward pass, and is needed only if
  something below the matrix trains. Below the first adapter there is no backward pass;
- the gradient of a weight takes as much again, and is needed only if the weight trains: of A and B,
  of the head, of no frozen matrix;
- attention multiplies queries by keys and weights by values, each of them T x T x width for T
  tokens. The whole square is counted: masks of causal and of sliding-window attention save nothing
  where the scores are computed first and masked afterwards.

DoRA multiplies A by B once a step, whatever the batch (PEFT's ``get_lora_weight``). A square matrix
R between a frozen A and a frozen B is multiplied by B once a step, and so is its gradient. The
stages of Swin and ConvNeXt have a quarter of the tokens of the stage before. State-space scans and
position terms of DeBERTa are not counted, and adapters on convolutions only roughly.

``T`` is the number of tokens of an example: words, or patches and class token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from floss_sim.families.experts import active_experts, active_products, expert_parameters
from floss_sim.families.family import Config
from floss_sim.families.model_table import CONV1D, CONV2D, EMBEDDING, ModelTable, Shape
from floss_sim.families.module_roles import layer_of, names_by_layer, role_of
from floss_sim.families.trained_tensors import (
    LORA_A,
    LORA_B,
    LORA_SQUARE,
    MAGNITUDE,
    WHOLE,
    TrainedTensor,
)

_ATTENTION_INPUTS = ("q", "k", "v", "qkv")
_PARALLEL_TYPES = ("codegen", "cohere", "cohere2", "gptj", "phi")  # attention beside the MLP
_PARALLEL_KEYS = ("parallel_attn", "use_parallel_residual")
_BEFORE_LAYERS = ("embed", "project_in")  # in the paths of modules below the first layer
_ALL_TOKENS = ("score",)  # heads that are applied to every token, not to the pooled one
_SHARED_LAYERS = "albert"  # type of models whose layers share their parameters
_MERGE = "downsample.reduction"  # in the paths of modules that have the next stage's tokens
_BLOCK = re.compile(r"(.*?\.\d+\..*?\.\d+)\.")  # a block of a stage
_POOLED = ("pooler", "pre_classifier")


@dataclass(frozen=True)
class Operations:
    """Operations of local training.

    Attributes:
        forward: Of the forward pass of an example.
        backward: Of the backward pass of an example.
        per_step: Of a step, whatever its batch.

    Example:
        >>> from floss_sim.families.operations import Operations
        >>> Operations(forward=4e9, backward=3e9, per_step=1e6).of_step(2)
        14001000000.0
    """

    forward: float
    backward: float
    per_step: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        """Return the sum of two counts."""
        return Operations(
            self.forward + other.forward,
            self.backward + other.backward,
            self.per_step + other.per_step,
        )

    @property
    def of_example(self) -> float:
        """Operations of an example, without those of a step."""
        return self.forward + self.backward

    def of_step(self, batch: int) -> float:
        """Return the operations of a step with ``batch`` examples."""
        return batch * self.of_example + self.per_step


def count_operations(
    table: ModelTable,
    config: Config,
    trained: Sequence[TrainedTensor],
    tokens: int,
    *,
    checkpointing: bool = False,
    dropout: bool = False,
) -> Operations:
    """Return the operations of local training.

    Args:
        table: The model, its classes filled in.
        config: The content of its ``config.json``.
        trained: The tensors that train.
        tokens: Tokens of an example; for images patches, and the class token.
        checkpointing: Whether the layers with a backward pass are computed again in it.
        dropout: Whether the input of adapters has dropout: DoRA then multiplies by the frozen
            weight a second time.

    Example:
        >>> from floss_sim import AdapterSettings, backbone_model
        >>> from floss_sim.families.operations import count_operations
        >>> model = backbone_model("gpt2")
        >>> trained = model.trained_model(AdapterSettings(rank=8, targets=("qkv",)))
        >>> made = count_operations(model.full_table(), model.config, trained.tensors, tokens=128)
        >>> f"{made.of_example / 1e9:.1f} GFLOP"
        '64.6 GFLOP'
    """
    return _Count(table, config, trained, tokens, checkpointing, dropout).total()


class _Count:
    """Operations of one model, from its first module to its last.

    ``live`` says of a vector whether its gradient is needed: whether anything below it trains.
    """

    def __init__(
        self,
        table: ModelTable,
        config: Config,
        trained: Sequence[TrainedTensor],
        tokens: int,
        checkpointing: bool,
        dropout: bool,
    ) -> None:
        self._table, self._tokens = table, tokens
        self._checkpointing, self._dropout = checkpointing, dropout
        self._active = active_experts(config)
        self._parallel = config.get("model_type") in _PARALLEL_TYPES or any(
            config.get(key) for key in _PARALLEL_KEYS
        )
        self._trained = _parts_by_module(trained)
        self._config = config
        self._inside = self._by_layer(self._matrices())
        self._trained_inside = self._by_layer(self._trained)
        self._experts_inside = self._by_layer(expert_parameters(table))

    def total(self) -> Operations:
        """Return the operations of all modules."""
        layers = self._layers()
        outside = self._inside.get((None, None), [])
        before = [p for p in outside if any(word in p for word in _BEFORE_LAYERS)]
        live = any(layer_of(path) is None and self._is_before(path) for path in self._trained)
        made = Operations(0, 0)
        for path in before:
            made += self._module(path, live=False)
        for stack, layer in layers:
            inside, live = self._layer(stack, layer, live)
            made += inside
        for path in (p for p in outside if p not in before):
            made += self._module(path, live)
            live = live or self._trains(path)
        return made

    def _is_before(self, path: str) -> bool:
        return any(word in path for word in _BEFORE_LAYERS) and path != self._table.output

    def _matrices(self) -> list[str]:
        """Return the paths of modules that multiply: all but embeddings without an adapter."""
        return [
            path
            for path, kind in self._table.modules.items()
            if kind != EMBEDDING or _rank(self._trained.get(path, {}))
        ]

    def _by_layer(self, names: Iterable[str]) -> dict[tuple[str | None, int | None], list[str]]:
        """Return names by stack and layer; a block of a stage is a stack of its own."""
        found = names_by_layer(names)
        if not self._config.get("depths"):
            return found
        blocks: dict[tuple[str | None, int | None], list[str]] = {}
        for (stack, stage), inside in found.items():
            for name in inside:
                block = _BLOCK.match(name) if stage is not None else None
                blocks.setdefault((block[1] if block else stack, stage), []).append(name)
        return blocks

    def _layers(self) -> list[tuple[str | None, int | None]]:
        """Return stack and number of each layer, in the order of the table."""
        names = self._by_layer((*self._table.modules, *self._table.parameters))
        layers = [key for key in names if key[1] is not None]
        if self._config.get("model_type") != _SHARED_LAYERS:
            return layers
        return layers * (int(self._config["num_hidden_layers"]) // len(layers))

    def _layer(self, stack: str | None, layer: int | None, live: bool) -> tuple[Operations, bool]:
        """Return the operations of a layer, and whether the gradient of its output is needed.

        Args:
            stack: The stack of the layer.
            layer: Its number.
            live: Whether the gradient of its input is needed.
        """
        paths, small = (
            inside.get((stack, layer), []) for inside in (self._inside, self._trained_inside)
        )
        roles = {path: role_of(path) for path in paths}
        live = live or any(path not in roles for path in small)  # such as the bias of a norm
        inputs = [path for path in paths if roles[path] in _ATTENTION_INPUTS]
        outputs = [path for path in paths if roles[path] == "o"]
        others = [path for path in paths if path not in inputs and path not in outputs]
        last = [path for path in others if roles[path] == "mlp_out"]
        made = Operations(0, 0)
        for path in inputs:
            made += self._module(path, live)
        made += self._attention(inputs, outputs, live, layer)
        attended = live or any(map(self._trains, inputs))
        for path in outputs:
            made += self._module(path, attended)
        attended = attended or any(map(self._trains, outputs))
        middle = live if self._parallel else attended
        for path in (p for p in others if p not in last):
            made += self._module(path, middle)
        made += self._expert_products(stack, layer, middle)
        inner = middle or any(self._trains(p) for p in others if p not in last)
        for path in last:
            made += self._module(path, inner)
        ends_live = attended or inner or any(map(self._trains, last))
        if self._checkpointing and ends_live:
            made += Operations(0, made.forward)
        return made, ends_live

    def _trains(self, path: str) -> bool:
        return bool(self._trained.get(path))

    def _module(self, path: str, live: bool) -> Operations:
        """Return the operations of a module; ``live`` as in the class, of its input."""
        kind, shape = self._table.modules[path], self._table.weight_shape(path)
        tokens, parts = self._tokens_of(path, kind), self._trained.get(path, {})
        product = 0 if kind == EMBEDDING else 2 * tokens * prod(shape)
        whole = f"{path}.weight" in parts
        made = Operations(product, product * (live + whole))
        return made + self._adapter(path, parts, tokens, product, live) if parts else made

    def _adapter(
        self, path: str, parts: Mapping[str, Shape], tokens: int, product: int, live: bool
    ) -> Operations:
        """Return the operations of the adapter of a module; none without B or R."""
        rank = _rank(parts)
        if not rank:
            return Operations(0, 0)
        kind, (out, in_, *kernel) = self._table.modules[path], self._table.weight_shape(path)
        if kind in (CONV1D, EMBEDDING):
            out, in_ = in_, out
        a = 0 if kind == EMBEDDING else 2 * tokens * rank * in_ * prod(kernel)
        b = 2 * tokens * rank * out
        below = live or LORA_A in parts  # whether the gradient of B's input is needed
        backward = b + b * below + a * (LORA_A in parts) + a * live
        made = Operations(a + b, backward)
        if LORA_SQUARE in parts:
            made += Operations(0, 0, 4 * out * prod(parts[LORA_SQUARE]))
        if MAGNITUDE in parts:
            made += Operations(0, 0, 2 * rank * in_ * (in_ * prod(kernel) + out))
            if self._dropout:
                made += Operations(product, product * live)
        return made

    def _attention(
        self, inputs: Sequence[str], outputs: Sequence[str], live: bool, layer: int | None
    ) -> Operations:
        """Return the operations of scores and weighted values of a layer."""
        made = Operations(0, 0)
        groups = _attentions(inputs)
        for number, group in enumerate(groups):
            width = self._attention_width(group, outputs[number : number + 1])
            product = 2 * self._pairs(layer) * width
            lives = {role: live or self._trains(path) for role, path in group.items()}
            if "qkv" in lives:
                lives = dict.fromkeys("qkv", lives["qkv"])
            query, key, value = (lives.get(role, live) for role in "qkv")
            backward = product * (query + key + (query or key) + value)
            made += Operations(2 * product, backward)
        return made

    def _layer_tokens(self, layer: int | None) -> int:
        """Return the tokens of a layer: of a model in stages a quarter of the last stage's."""
        if not self._config.get("depths"):
            return self._tokens
        patches: int = _patches(self._config) or self._tokens
        return int(max(1, patches // 4 ** (layer or 0)))

    def _pairs(self, layer: int | None) -> int:
        """Return the pairs of tokens that attend to each other; Swin's do within windows."""
        tokens, window = self._layer_tokens(layer), self._config.get("window_size")
        if not self._config.get("depths") or not isinstance(window, int):
            return tokens**2
        return tokens * min(tokens, window**2)

    def _attention_width(self, group: Mapping[str, str], outputs: Sequence[str]) -> int:
        """Return the width of all heads together: that of the output's input, or of queries."""
        for path in outputs:
            shape = self._table.weight_shape(path)
            return shape[0] if self._table.modules[path] == CONV1D else shape[1]
        path = group.get("q") or next(iter(group.values()))
        shape = self._table.weight_shape(path)
        out = shape[1] if self._table.modules[path] == CONV1D else shape[0]
        return out // 3 if "qkv" in group else out

    def _expert_products(self, stack: str | None, layer: int | None, live: bool) -> Operations:
        """Return the operations of experts that are parameters of a layer, not modules."""
        names = self._experts_inside.get((stack, layer), [])
        own = {name: self._table.parameters[name] for name in names}
        product = 2 * self._tokens * active_products(own, self._active)
        return Operations(product, product * live)

    def _tokens_of(self, path: str, kind: str) -> int:
        """Return how many vectors of an example pass through a module."""
        if kind == CONV2D and layer_of(path) is None:
            return min(self._tokens, _patches(self._config) or self._tokens)
        if (layer := layer_of(path)) is not None:
            return self._layer_tokens(layer + (_MERGE in path))
        if path == self._table.output:
            return self._tokens
        head = any(path == name or path.startswith(f"{name}.") for name in self._table.head)
        parts = path.split(".")
        if any(word in parts for word in _ALL_TOKENS):
            return self._tokens
        return 1 if head or any(word in parts for word in _POOLED) else self._tokens


def _parts_by_module(trained: Sequence[TrainedTensor]) -> dict[str, dict[str, Shape]]:
    """Return the shapes of trained tensors by the path of their module, then by part or name."""
    found: dict[str, dict[str, Shape]] = {}
    for tensor in trained:
        is_whole = tensor.part == WHOLE
        path = tensor.module.rpartition(".")[0] if is_whole else tensor.module
        found.setdefault(path, {})[tensor.module if is_whole else tensor.part] = tensor.shape
    return found


def _rank(parts: Mapping[str, Shape]) -> int:
    """Return the rank of the adapter of a module by what trains of it; 0 without an adapter."""
    if LORA_SQUARE in parts:
        heads, rank, _ = parts[LORA_SQUARE]
        return heads * rank
    return parts[LORA_B][1] if LORA_B in parts else 0


def _patches(config: Config) -> int:
    """Return the number of patches of an image; 0 if the config does not say."""
    size, patch = config.get("image_size"), config.get("patch_size")
    return (size // patch) ** 2 if type(size) is int and type(patch) is int else 0


def _attentions(inputs: Sequence[str]) -> list[dict[str, str]]:
    """Return the modules of each attention of a layer, by role, from those of all of them."""
    found: dict[str, dict[str, str]] = {}
    for path in inputs:
        role = role_of(path)
        if role is not None:
            found.setdefault(path.rpartition(".")[0], {})[role] = path
    return list(found.values())
