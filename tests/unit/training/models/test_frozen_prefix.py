"""Kept activations below the first trained layer: what they hold, and when they are not used."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_checks import train_round, write_family_task
from parties import values_of
from tiny_models import CASES, IMAGES, TEXTS, TinyRun, examples, tiny_model
from torch import nn

from floss_sim import RunConfig, dense, load_task
from floss_sim.errors import ConfigError
from floss_sim.methods import method_from_name
from floss_sim.training import learner_identity, open_learner
from floss_sim.training.bank.batched_sgd import Party
from floss_sim.training.bank.model import build_bank, build_bank_model
from floss_sim.training.evaluation import measure
from floss_sim.training.local_sgd import train_locally, work_of
from floss_sim.training.models import frozen_prefix
from floss_sim.training.models.dropout import DropoutStreams
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.training.models.frozen_prefix import FrozenPrefix, frozen_layers
from floss_sim.vectors.layout import HEAD_WEIGHT, LORA_A, Layout, TensorSpec, build_layout

torch.set_num_threads(1)
CPU = torch.device("cpu")
COUNT = 21  # examples: three blocks, the last one shorter


@dataclass(frozen=True)
class LastLayerRun(TinyRun):
    """A run with adapters on the last of two layers alone."""

    keeps_prefix: bool = True

    @cached_property
    def layout(self) -> Layout:
        """The layout without the tensors of the first layer."""
        whole = build_layout(
            self.task.backbone_config,
            trains=self.trains,
            targets=self.targets,
            rank=self.rank,
            labels=self.task.labels,
        )
        kept = [tensor for tensor in whole.tensors if not tensor.name.startswith("layer.000")]
        return Layout(tuple(kept))


@pytest.fixture(params=CASES, ids="-".join)
def late(request: pytest.FixtureRequest, folders: dict[str, Path]) -> LastLayerRun:
    """Adapters on the last layer, for each family and task."""
    family, kind = request.param
    return LastLayerRun(folders[family], kind)


@cache
def split(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the examples of a kind, always the same tensors."""
    return examples(kind, COUNT)


def start(run: TinyRun, layout: Layout) -> np.ndarray:
    draw = np.random.default_rng(run.seed)
    return draw.normal(scale=0.3, size=layout.entries).astype(np.float32)


def trained(run: TinyRun, flat: FlatModel) -> np.ndarray:
    """Return what a client comes to that trains on all examples."""
    x, y = split(run.kind)
    names = ("client", 1)
    work = work_of(
        flat.base + start(run, flat.layout), None, np.arange(COUNT), x, flat.inputs, run.client,
        run.seed, names,
    )  # fmt: skip
    return train_locally(flat, x, y, run.client, work)


def passed(run: TinyRun) -> list[list[np.ndarray]]:
    """Return what three clients of a bank come to in one pass."""
    model = build_bank_model(run, CPU, build_bank(run, CPU))
    x, y = split(run.kind)
    parts = np.split(np.random.default_rng(3).permutation(COUNT), [10, 16])
    works = [
        work_of(model.base + start(run, model.layout), None, part, x, model.inputs, run.client,
                run.seed, ("client", client))
        for client, part in enumerate(parts)
    ]  # fmt: skip
    return values_of([Party(model, x, y, run.client, works)])


def test_clients_and_evaluation_come_to_the_same_with_kept_activations(late: LastLayerRun):
    with_it, without = late, replace(late, keeps_prefix=False)
    kept, computed = build_flat_model(with_it, CPU), build_flat_model(without, CPU)
    assert np.allclose(trained(late, kept), trained(late, computed), atol=1e-6)
    data = split(late.kind)
    vector = start(late, late.layout)
    assert measure(kept, vector, *data) == pytest.approx(measure(computed, vector, *data), rel=1e-6)
    assert kept.prefix.nbytes > 0 == computed.prefix.nbytes
    assert np.allclose(passed(with_it)[0], passed(without)[0], atol=1e-6)


def test_each_example_is_computed_once_and_the_last_layer_alone_works_on(late: LastLayerRun):
    flat = build_flat_model(late, CPU)
    counts = rows_through(flat)
    data = split(late.kind)
    vector = start(late, late.layout)
    measure(flat, vector, *data)
    below, above = counts
    once = sum(below)
    probed = 3  # one example alone and in a batch of two
    assert COUNT < once <= 2 * COUNT + probed  # the first batch is computed in both ways
    for _ in range(3):
        trained(late, flat)
        measure(flat, vector, *data)
    assert sum(below) == once
    assert sum(above) >= 7 * COUNT


def rows_through(flat: FlatModel) -> tuple[list[int], list[int]]:
    """Return lists that will hold the examples of each call of the first and of the last layer."""
    (first,) = flat.prefix._layers
    below: list[int] = []
    above: list[int] = []
    compute = first._compute

    def counted(x: torch.Tensor, *rest: Any, **named: Any) -> Any:
        below.append(len(x))
        return compute(x, *rest, **named)

    first._compute = counted
    last = max(
        (m for m in flat.model.modules() if isinstance(m, nn.ModuleList)), key=len
    )[-1]  # fmt: skip
    last.register_forward_pre_hook(
        lambda module, args, named: above.append(len((*args, *named.values())[0])),
        with_kwargs=True,
    )
    return below, above


def test_kept_states_do_not_depend_on_what_was_asked_before(late: LastLayerRun):
    """A resumed run asks for other examples first."""
    x, _ = split(late.kind)
    every = torch.arange(COUNT)
    one, other = build_flat_model(late, CPU).prefix, build_flat_model(late, CPU).prefix
    for chosen in (torch.tensor([20]), torch.tensor([3, 17]), every):
        before = other._gather([(x, chosen)])
    assert torch.equal(one._gather([(x, every)]), before)


def test_texts_are_cut_to_the_longest_of_the_batch(folders: dict[str, Path]):
    run = LastLayerRun(folders["bert"], TEXTS)
    prefix = build_flat_model(run, CPU).prefix
    x, _ = split(TEXTS)
    lengths = (x >= 0).sum(dim=1)
    short = torch.nonzero(lengths <= 5).flatten()
    assert prefix._gather([(x, short)]).shape == (len(short), 5, 16)
    assert prefix._gather([(x, short), (x, torch.arange(COUNT))]).shape == (
        len(short) + COUNT, int(lengths.max()), 16,
    )  # fmt: skip


@pytest.mark.parametrize("memory", [10**9, 0])
def test_states_beyond_the_memory_budget_are_kept_in_a_file(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, memory: int
):
    monkeypatch.setitem(frozen_prefix._MEMORY_BYTES, "cpu", memory)
    run = LastLayerRun(folders["vit"], IMAGES)
    x, _ = split(IMAGES)
    prefix = build_flat_model(run, CPU).prefix
    states = prefix._gather([(x, torch.arange(COUNT))])
    assert prefix.nbytes == COUNT * 5 * 16 * 4  # four patches and the class, 16 wide, float32
    monkeypatch.undo()
    assert torch.equal(
        states, build_flat_model(run, CPU).prefix._gather([(x, torch.arange(COUNT))])
    )


def test_states_beyond_every_budget_are_computed_and_it_is_said_once(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(frozen_prefix._MEMORY_BYTES, "cpu", 0)
    monkeypatch.setattr(frozen_prefix, "_FILE_BYTES", 1000)
    run = LastLayerRun(folders["vit"], IMAGES)
    flat = build_flat_model(run, CPU)
    with pytest.warns(RuntimeWarning, match="computed in every step, not kept: they take more"):
        ours = trained(run, flat)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(trained(run, flat), ours)
    plain = build_flat_model(replace(run, keeps_prefix=False), CPU)
    assert np.array_equal(ours, trained(run, plain))


@pytest.mark.parametrize("where", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_below_the_adapters_is_drawn_anew_in_every_step(tmp_path: Path, where: str):
    """Evaluation has no dropout, and uses the kept states."""
    tiny_model("bert", **{where: 0.2}).save_pretrained(tmp_path)
    run = LastLayerRun(tmp_path, TEXTS)
    kept, plain = (
        build_flat_model(run, CPU),
        build_flat_model(replace(run, keeps_prefix=False), CPU),
    )
    assert np.array_equal(trained(run, kept), trained(run, plain))
    below, _ = rows_through(kept)
    data, vector = split(TEXTS), start(run, run.layout)
    found = measure(kept, vector, *data)
    assert found == pytest.approx(measure(plain, vector, *data), rel=1e-6)
    assert sum(below) > 0
    below.clear()
    assert measure(kept, vector, *data) == found
    assert below == []


@pytest.mark.parametrize("where", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_a_run_may_leave_out_the_dropout_below(tmp_path: Path, where: str):
    """Training is then as with a backbone whose first layer has no dropout."""
    run = LastLayerRun(tmp_path, TEXTS, drops_below=False)
    tiny_model("bert", **{where: 0.2}).save_pretrained(tmp_path)
    kept, plain = (
        build_flat_model(run, CPU),
        build_flat_model(replace(run, keeps_prefix=False), CPU),
    )
    without_dropout_below(plain.model)
    ours = trained(run, kept)
    assert np.allclose(ours, trained(run, plain), atol=1e-6)
    assert not np.allclose(
        ours, trained(run, build_flat_model(replace(run, drops_below=True), CPU))
    )


def without_dropout_below(model: nn.Module) -> None:
    """Switch off the dropouts of a BERT's embeddings and of its first layer."""
    for name, module in model.named_modules():
        if "embeddings" in name or "layer.0." in f"{name}.":
            module.train = lambda mode=True, module=module: module
            module.training = False


def test_a_run_without_dropout_below_is_refused_if_nothing_can_be_kept(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(frozen_prefix._MEMORY_BYTES, "cpu", 0)
    monkeypatch.setattr(frozen_prefix, "_FILE_BYTES", 1000)
    run = LastLayerRun(folders["bert"], TEXTS, drops_below=False)
    with pytest.raises(ConfigError, match="frozen_dropout = false: activations of the frozen"):
        trained(run, build_flat_model(run, CPU))


def test_dropout_of_the_adapters_alone_leaves_the_states(folders: dict[str, Path]):
    run = LastLayerRun(folders["bert"], TEXTS, dropout=0.3)
    plain = build_flat_model(replace(run, keeps_prefix=False), CPU)
    kept = build_flat_model(run, CPU)
    assert np.allclose(trained(run, kept), trained(run, plain), atol=1e-6)
    assert kept.prefix._has_dropout is False


class Bypassing(nn.Module):
    """A network whose last layer reads what the first one returned, past the layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        first = self.layers[0](pixel_values.flatten(1))
        return self.layers[2](self.layers[1](first)) + first


class Telling(nn.Module):
    """A network whose first layer returns more than its hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Pair(), nn.Linear(4, 4)])

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden, more = self.layers[0](pixel_values.flatten(1))
        return self.layers[1](hidden) + more


class _Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x


class Mixing(nn.Module):
    """A network whose first layer mixes the examples of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Mean(), nn.Linear(4, 4)])

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.layers[1](self.layers[0](pixel_values.flatten(1)))


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0)


class Pixels:
    """As much of a reader as a prefix reads: images of 2 x 2 pixels."""

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"pixel_values": x}

    def length(self, x: torch.Tensor) -> int:
        return 0


@pytest.mark.parametrize(
    ("model", "frozen", "why"),
    [
        (Bypassing, 2, "do not give the model's logits"),
        (Telling, 1, "more than hidden states"),
        (Mixing, 1, "other examples of a batch"),
    ],
)
def test_a_model_that_uses_more_of_its_first_layers_is_computed_whole(model, frozen, why):
    torch.manual_seed(1)
    made, x = model(), torch.rand(9, 1, 2, 2)
    expected = made(x)
    prefix = FrozenPrefix(
        made, list(made.layers)[:frozen], Pixels(), DropoutStreams(CPU), device=CPU
    )
    batch = [(x, torch.arange(9))]
    with pytest.warns(RuntimeWarning, match=why), prefix.using(batch):
        assert torch.equal(prefix.logits(lambda: made(x)), expected)
    with prefix.using(batch):
        assert torch.equal(prefix.logits(lambda: made(x)), expected)


@pytest.mark.parametrize("family", ["fnet", "xlnet"])
def test_states_that_padding_changes_or_that_lie_by_token_are_not_kept(family: str, tmp_path: Path):
    """FNet mixes padding into every token; XLNet's states are (tokens, examples, width)."""
    write_family_task(family, tmp_path)
    updates = []
    for keeps in (True, False):
        changes = {"lora.depth": 1, "client.frozen_prefix": keeps}
        task = load_task(str(tmp_path / "tiny.toml"), changes=changes)
        learner = open_learner(RunConfig.of(task, dense(), rank=2, seed=3), "cpu")
        warned = pytest.warns(RuntimeWarning, match="depend on padding") if keeps else nullcontext()
        with warned:
            updates.append(train_round(learner))
    assert all(np.array_equal(one, other) for one, other in zip(*updates, strict=True))


def test_frozen_layers_are_those_below_the_first_trained_one_of_one_stack():
    def holds(*modules: nn.Module) -> Any:
        return lambda module: module in modules

    one, two = Bypassing(), Bypassing()
    first, second, third = one.layers
    assert frozen_layers(one, holds(third)) == (first, second)
    assert frozen_layers(one, holds(second, third)) == (first,)
    assert frozen_layers(one, holds(first)) == ()
    assert frozen_layers(one, holds()) == (first, second, third)  # a head alone trains
    both = nn.ModuleDict({"one": one, "two": two})
    assert frozen_layers(both, holds(third, two.layers[2])) == ()
    assert frozen_layers(nn.Linear(2, 2), holds()) == ()


@pytest.mark.parametrize(
    ("names", "frozen"),
    [
        (["layer.003.q.lora_A", "layer.005.q.lora_A"], True),
        (["layer.000.q.lora_A", "layer.005.q.lora_A"], False),
        (["model.layers.011.self_attn.q_proj.lora_A"], True),
        (["embeddings.word.lora_A", "layer.003.q.lora_A"], False),
        ([], True),
    ],
)
def test_the_names_of_a_layout_say_whether_its_first_layers_are_frozen(names, frozen):
    tensors = [*(TensorSpec(name, (2, 3), LORA_A) for name in names)]
    head = TensorSpec("head.weight", (2, 3), HEAD_WEIGHT)
    layout = Layout(tuple(sorted([*tensors, head], key=lambda t: t.name)))
    assert layout.has_frozen_layers is frozen


@pytest.mark.parametrize("learner", ["bank", "sequential"])
def test_a_run_of_the_head_alone_keeps_the_whole_stack(learner: str):
    kept = RunConfig.of(load_task("digits"), method_from_name("head"))
    plain = kept.with_(client={"frozen_prefix": False})
    named = learner_identity(plain, learner)
    assert learner_identity(kept, learner) == replace(named, kind=f"{named.kind}-prefix")
    assert learner_identity(kept, learner) == open_learner(kept, learner=learner).identity
    rank = RunConfig.of(load_task("digits"), method_from_name("dense"), rank=4)
    assert not rank.keeps_prefix
