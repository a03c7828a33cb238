"""A slow and obvious FLoSS, written from the pseudocode alone, against the product.

It also tells how the other methods differ: in which entries are sent, trained and returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch.nn import functional
from transformers import AutoModelForImageClassification

from floss_sim import RunConfig, load_task, run
from floss_sim.methods import METHODS, DifferentialPrivacy, FrozenMask, TopK, method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.rng import stream
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.training.models.parameter_names import parameter_names

RANK, LABELS = 2, 10
Mask = torch.Tensor
# The tensors of the vector, in the sorted order of their names.
SIZES = {"head.bias": 10, "head.weight": 10 * 64} | {
    f"layer.00{layer}.{role}.lora_{half}": RANK * 64
    for layer in range(4)
    for role in "qv"
    for half in "AB"
}
ENTRIES = sum(SIZES.values())
HEAD = SIZES["head.bias"] + SIZES["head.weight"]  # the first entries


def largest(vector: torch.Tensor, density: float) -> Mask:
    """Mark the k entries of largest magnitude, those of lower index first where they tie."""
    k = max(1, int(density * len(vector)))
    mask = torch.zeros(len(vector), dtype=torch.bool)
    mask[vector.abs().sort(descending=True, stable=True).indices[:k]] = True
    return mask


def largest_of_each_tensor(vector: torch.Tensor, density: float) -> Mask:
    pieces = vector.split(list(SIZES.values()))
    return torch.cat([largest(piece, density) for piece in pieces])


def head_and_largest(vector: torch.Tensor, density: float) -> Mask:
    head = torch.ones(HEAD, dtype=torch.bool)
    return torch.cat([head, largest(vector[HEAD:], density)])


def at_random(entries: int, density: float, *names: str | int) -> Mask:
    """Mark k entries that both ends draw from a stream of the same name."""
    drawn = stream(0, *names).choice(entries, max(1, int(density * entries)), replace=False)
    mask = torch.zeros(entries, dtype=torch.bool)
    mask[drawn] = True
    return mask


def some_ranks(chosen: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., Mask]:
    """Mark the head, and in every adapter the ranks that a function of (A, B) chooses."""

    def mark(vector: torch.Tensor) -> Mask:
        tensors = dict(zip(SIZES, vector.split(list(SIZES.values())), strict=True))
        marks = {"head.bias": torch.ones(10), "head.weight": torch.ones(640)}
        for name in tensors:
            if name.endswith("lora_A"):
                other = name.replace("lora_A", "lora_B")
                ranks = chosen(tensors[name].view(RANK, 64), tensors[other].view(64, RANK))
                marks[name] = ranks[:, None].expand(RANK, 64).flatten()  # rows of A
                marks[other] = ranks[None, :].expand(64, RANK).flatten()  # columns of B
        return torch.cat([marks[name] for name in SIZES]).bool()

    return mark


first_rank = some_ranks(lambda a, b: torch.tensor([1.0, 0.0]))
largest_rank = some_ranks(
    lambda a, b: torch.eye(RANK)[(a.norm(dim=1) * b.norm(dim=0)).argmax()],
)


@dataclass(frozen=True)
class Rules:
    """Which entries travel: functions of a vector, and of who asks when.

    ``down(P, version, client, sequence)`` and ``up(D, client, sequence, start)`` return
    masks. Without ``up``, clients train and return the entries that they were sent.
    ``mask(P, version, alive)`` shrinks the one mask of all clients after a server step.
    ``trained(version, start)`` marks what trains: in such a round the server moves nothing else.
    ``averages`` replaces Adam by the mean of the clients. ``scale`` multiplies LoRA's scale in
    training. ``step(P, starts, updates, version)`` replaces the mean of the updates.
    ``private`` marks what each client keeps for itself, ``waits(sequence)`` what joins a residual.
    In ``turns`` a client trains that beside the rest, and the rest without it. ``rank`` is the
    run's, and ``cohort`` the number of clients of a round.
    ``clip``, and noise in an entry of an upload (``noise``) or of the mean (``mean_noise``).
    """

    down: Callable[[torch.Tensor, int, int, int], Mask]
    up: Callable[[torch.Tensor, int, int, torch.Tensor], Mask] | None = None
    error_feedback: bool = False
    mask: Callable[[torch.Tensor, int, Mask], Mask] | None = None
    trained: Callable[[int, torch.Tensor], Mask] | None = None
    averages: bool = False
    scale: float = 1.0
    private: Mask | None = None
    turns: bool = False
    rank: int = RANK
    waits: Callable[[int], Mask] | None = None
    cohort: int = 5
    clip: float = float("inf")
    noise: float = 0.0
    mean_noise: float = 0.0
    step: (
        Callable[[torch.Tensor, list[torch.Tensor], list[torch.Tensor], int], torch.Tensor] | None
    ) = None


class SlowFloss:
    """One plain torch model, whose parameters are laid end to end by sorted canonical name."""

    def __init__(self, config: RunConfig, rules: Rules, model: PeftModel) -> None:
        self.config, self.rules, self.model = config, rules, model
        parameters = dict(model.named_parameters())
        names = parameter_names(config.layout, model)
        self.parameters = [parameters[names[n]] for n in sorted(names)]
        self.P = torch.from_numpy(config.layout.initial_vector(config.seed))
        self.m, self.v = torch.zeros_like(self.P), torch.zeros_like(self.P)
        self.alive = torch.ones(ENTRIES, dtype=torch.bool)
        self.initial = self.P.clone()
        self.own = dict.fromkeys(range(50), self.initial)
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.scaling["default"] = 16 / RANK * rules.scale
        self.residual = {client: torch.zeros_like(self.P) for client in range(50)}

    def local_epoch(
        self, start: torch.Tensor, trained: Mask, client: int, sequence: int, *names: str
    ) -> torch.Tensor:
        pieces, trains = start.split(list(SIZES.values())), trained.split(list(SIZES.values()))
        with torch.no_grad():
            for parameter, piece in zip(self.parameters, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))
        x, y = (torch.from_numpy(a)[self.config.clients[client]] for a in self.data)
        names = ("client", client, "dispatch", sequence, *names, "batches")
        order = stream(0, *names).permutation(len(y))
        momentum = [torch.zeros_like(p) for p in self.parameters]
        for begin in range(0, len(y), 16):
            batch = order[begin : begin + 16]
            loss = functional.cross_entropy(self.model(pixel_values=x[batch]).logits, y[batch])
            gradients = torch.autograd.grad(loss, self.parameters)
            with torch.no_grad():
                for parameter, velocity, gradient, marks in zip(
                    self.parameters, momentum, gradients, trains, strict=True
                ):
                    velocity.mul_(0.9).add_(gradient * marks.view_as(gradient))
                    parameter.sub_(0.05 * velocity)
        return torch.cat([p.detach().ravel() for p in self.parameters])

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return self.config.task.content.train

    def client(self, client: int, version: int, sequence: int) -> torch.Tensor:
        """Return what the server decodes of a client's upload."""
        sent = self.rules.down(self.P, version, client, sequence) & self.alive
        start = self.P * sent
        if self.rules.private is not None:
            start = torch.where(self.rules.private, self.own[client], start)
        self.starts.append(start)
        trained = torch.ones_like(sent) if self.rules.up else sent
        if self.rules.trained:
            trained = self.rules.trained(version, start)
        if self.rules.turns:
            final = self.local_turns(start, client, sequence)
        else:
            final = self.local_epoch(start, trained, client, sequence)
        self.own[client] = final
        D = start - final
        if self.rules.waits:
            D = D * self.rules.waits(sequence)
        if self.rules.error_feedback:
            D = D + self.residual[client]
        if D.norm() > self.rules.clip:
            D = D * self.rules.clip / D.norm()
        noise = self.rules.noise * normal("client", client, "dispatch", sequence, "upload")
        chosen = self.rules.up(D + noise, client, sequence, start) if self.rules.up else trained
        self.residual[client] = D * ~chosen
        return (D + noise) * chosen

    def local_turns(self, start: torch.Tensor, client: int, sequence: int) -> torch.Tensor:
        """Train the client's own adapter beside the frozen rest, and the rest with the own one off.

        It is off where its B is zero, as at first.
        """
        private = self.rules.private
        own = self.local_epoch(start, private, client, sequence, "private")
        alone = torch.where(private, self.initial, start)
        return torch.where(private, own, self.local_epoch(alone, ~private, client, sequence))

    def round(self, number: int) -> None:
        size = self.rules.cohort
        cohort = draw_cohort(0, number, 50, size).clients
        self.starts: list[torch.Tensor] = []
        updates = [
            self.client(client, number - 1, size * (number - 1) + i)
            for i, client in enumerate(cohort)
        ]
        g = torch.stack(updates).mean(dim=0)
        g = g + self.rules.mean_noise * normal("version", number - 1)
        if self.rules.step:
            g = self.rules.step(self.P, self.starts, updates, number - 1)
        self.server_step(g, number)
        if self.rules.mask:
            self.alive = self.alive & self.rules.mask(self.P * self.alive, number, self.alive)
            self.P, self.m, self.v = (t * self.alive for t in (self.P, self.m, self.v))

    def server_step(self, g: torch.Tensor, number: int) -> None:
        if self.rules.averages:
            self.P = self.P - g
            return
        moves = (
            self.rules.trained(number - 1, self.P) if self.rules.trained else torch.ones(ENTRIES)
        )
        m, v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**number), v / (1 - 0.999**number)
        P = self.P - 5e-3 * m_hat / (v_hat.sqrt() + 1e-8)
        moves = moves.bool()
        self.P, self.m, self.v = (
            torch.where(moves, new, old) for new, old in ((P, self.P), (m, self.m), (v, self.v))
        )


def all_of(*_: object) -> Mask:
    return torch.ones(ENTRIES, dtype=torch.bool)


def floss_of(pick: Callable[[torch.Tensor, float], Mask], down: float, up: float) -> Rules:
    return Rules(
        lambda p, version, client, seq: pick(p, down), lambda d, client, seq, start: pick(d, up)
    )


def normal(*names: str | int) -> torch.Tensor:
    """Return one standard normal number an entry, from the stream of a name."""
    return torch.from_numpy(stream(0, *names, "privacy").standard_normal(ENTRIES)).float()


def upload_stream(client: int, sequence: int) -> tuple[str | int, ...]:
    return "client", client, "dispatch", sequence, "upload", "mask"


def sketch(sequence: int) -> Mask:
    """Mark the head, and of every adapter one of the two ranks, drawn for the dispatch."""
    draw = stream(0, "dispatch", sequence, "mask")
    return some_ranks(lambda a, b: torch.eye(RANK)[draw.choice(RANK, 1, replace=False)[0]])(
        torch.zeros(ENTRIES)
    )


def half_and_head(half: str) -> Mask:
    """Mark LoRA's A or B of every layer, and the head."""
    return torch.cat([
        torch.full((size,), name.startswith("head.") or name.endswith(half))
        for name, size in SIZES.items()
    ])  # fmt: skip


def rolora_turn(version: int, *_: object) -> Mask:
    """Mark B and the head in rounds 1, 3, ... (versions 0, 2, ...), A and the head in the others.

    B first: it starts at zero, and A has no gradient until B has moved.
    """
    return half_and_head("B" if version % 2 == 0 else "A")


def largest_of_turn(d: torch.Tensor, client: int, sequence: int, start: torch.Tensor) -> Mask:
    turn = rolora_turn(sequence // 5)
    marked = torch.zeros(ENTRIES, dtype=torch.bool)
    marked[turn] = largest(d[turn], 1 / 4)
    return marked


Tensors = dict[str, torch.Tensor]
PAIRS = [(n, n.replace("lora_A", "lora_B")) for n in SIZES if n.endswith("lora_A")]


def matrices(vector: torch.Tensor) -> Tensors:
    """Return the tensors of a vector: A of shape (2, 64), B (64, 2), the head's as they lie."""
    pieces = dict(zip(SIZES, vector.split(list(SIZES.values())), strict=True))
    shapes = {"A": (RANK, 64), "B": (64, RANK)}
    return {n: p.view(shapes[n[-1]]) if "lora" in n else p for n, p in pieces.items()}


def effects(d: torch.Tensor, start: torch.Tensor) -> Tensors:
    """Return how much each entry's update alone changes the product, by tensor.

    The product changes by dB A + B' dA, with the old A and the new B'.
    """
    moved, before = matrices(d), matrices(start)
    found = dict(moved)
    for a, b in PAIRS:
        found[b] = moved[b] * before[a].norm(dim=1)[None, :]
        found[a] = moved[a] * (before[b] - moved[b]).norm(dim=0)[:, None]
    return found


def best_ranks(d: torch.Tensor, client: int, sequence: int, start: torch.Tensor) -> Mask:
    """Mark the head and a quarter of the sixteen ranks of the turn's factor."""
    letter = "B" if sequence // 5 % 2 == 0 else "A"
    found = effects(d, start)
    names = sorted(n for n in found if n.endswith(f"lora_{letter}"))
    scores = torch.cat([found[n].norm(dim=0 if letter == "B" else 1) for n in names])
    best = scores.sort(descending=True, stable=True).indices[: len(scores) // 4].tolist()
    marks = {n: torch.zeros_like(t) for n, t in matrices(d).items()}
    for rank in best:
        tensor = marks[names[rank // RANK]]
        (tensor.T if letter == "B" else tensor)[rank % RANK] = 1
    marks["head.bias"][:] = marks["head.weight"][:] = 1
    return torch.cat([marks[n].ravel() for n in SIZES]).bool()


def by_kurtosis(d: torch.Tensor, client: int, sequence: int, start: torch.Tensor) -> Mask:
    """Mark a quarter of all entries; the density of a tensor is c / kurtosis, at most 1."""
    found = [e.ravel().double() for e in effects(d, start).values()]
    kurtosis = [float((e**4).mean() / (e**2).mean() ** 2) if e.any() else len(e) for e in found]
    low, high, total = 0.0, 1e6, ENTRIES // 4
    for _ in range(200):  # bisection of c
        c = (low + high) / 2
        shares = [min(len(e), c * len(e) / k) for e, k in zip(found, kurtosis, strict=True)]
        low, high = (low, c) if sum(shares) > total else (c, high)
    counts = [int(share + 1e-9) for share in shares]
    rest = sorted(range(len(counts)), key=lambda t: counts[t] - shares[t])
    for t in rest[: total - sum(counts)]:
        counts[t] += 1
    marks = [
        largest(e, (k + 0.5) / len(e)) if k else e > 9e9 for e, k in zip(found, counts, strict=True)
    ]
    return torch.cat(marks)


def product_step(
    p: torch.Tensor, starts: list[torch.Tensor], updates: list[torch.Tensor], version: int
) -> torch.Tensor:
    """Average whole products, and solve for half of B or A by turns; average the head.

    Singular values of the fixed factor below 0.3 times the largest count as zero.
    """
    draw = stream(0, "version", version, "step")
    g, server = torch.stack(updates).mean(dim=0).clone(), matrices(p.double())
    result = matrices(g)
    for a, b in PAIRS:
        mean = torch.zeros(64, 64, dtype=torch.float64)
        for start, update in zip(starts, updates, strict=True):
            old, new = matrices(start.double()), matrices((start - update).double())
            mean += (old[b] @ old[a] - new[b] @ new[a]) / len(starts)
        name, still = (b, a) if version % 2 == 0 else (a, b)
        inverse = torch.linalg.pinv(server[still], rtol=0.3)
        whole = mean @ inverse if name == b else inverse @ mean
        kept = torch.zeros(2 * 64, dtype=torch.bool)
        kept[draw.choice(2 * 64, 64, replace=False)] = True
        result[name][:] = 2 * whole * kept.view_as(whole)
        result[still][:] = 0
    return g


def trained_factors(starts: list[torch.Tensor], updates: list[torch.Tensor]) -> list[Tensors]:
    pairs = zip(starts, updates, strict=True)
    return [matrices((start - update).double()) for start, update in pairs]


def svd_of(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A = V^T and B = U S of the leading ranks; the largest entries of A are positive."""
    u, s, v = torch.linalg.svd(w)
    rows = v[:RANK]
    signs = torch.stack([row[row.abs().argmax()].sign() for row in rows])
    return signs[:, None] * rows, u[:, :RANK] @ torch.diag(s[:RANK] * signs)


def mean_product(
    p: torch.Tensor, starts: list[torch.Tensor], updates: list[torch.Tensor], version: int
) -> torch.Tensor:
    """Replace B and A by the SVD of the mean of whole products; average the head."""
    g, server = torch.stack(updates).mean(dim=0).clone(), matrices(p.double())
    result, trained = matrices(g), trained_factors(starts, updates)
    for a, b in PAIRS:
        new_a, new_b = svd_of(sum(own[b] @ own[a] for own in trained) / len(trained))
        result[a][:], result[b][:] = server[a] - new_a, server[b] - new_b
    return g


def corrected_mean(
    p: torch.Tensor, starts: list[torch.Tensor], updates: list[torch.Tensor], version: int
) -> torch.Tensor:
    """Average B and A, and regress what the mean product has more on the mean A (ridge 0.1)."""
    g, server = torch.stack(updates).mean(dim=0).clone(), matrices(p.double())
    result, trained = matrices(g), trained_factors(starts, updates)
    for a, b in PAIRS:
        each_a, each_b = (torch.stack([own[name] for own in trained]) for name in (a, b))
        mean_a, mean_b, mean_ba = (x.mean(dim=0) for x in (each_a, each_b, each_b @ each_a))
        rows = torch.cat([mean_a.T, 0.1**0.5 * torch.eye(RANK, dtype=torch.float64)])
        sides = torch.cat([(mean_ba - mean_b @ mean_a).T, torch.zeros(RANK, 64)])
        correction = torch.linalg.lstsq(rows, sides).solution.T
        result[b][:] = server[b] - (mean_b + correction)
    return g


def renewed_basis(
    p: torch.Tensor, starts: list[torch.Tensor], updates: list[torch.Tensor], version: int
) -> torch.Tensor:
    """Average B; every two rounds factor its product with A again; average the head."""
    g, server = torch.stack(updates).mean(dim=0).clone(), matrices(p.double())
    result, new = matrices(g), matrices((p - g).double())
    for a, b in PAIRS if version % 2 else []:
        new_a, new_b = svd_of(new[b] @ new[a])
        result[a][:], result[b][:] = server[a] - new_a, server[b] - new_b
    return g


def active_layers(version: int, start: torch.Tensor) -> Mask:
    """Mark all but the layers of smallest B; one more stops every two rounds, the last never."""
    size = [
        torch.cat([matrices(start)[f"layer.00{layer}.{role}.lora_B"] for role in "qv"]).norm()
        for layer in range(4)
    ]
    order = sorted(range(4), key=lambda layer: (float(size[layer]), layer))
    stopped = [f"layer.00{layer}." for layer in order[: min(3, version // 2)]]
    marks = [torch.full((s,), not n.startswith(tuple(stopped))) for n, s in SIZES.items()]
    return torch.cat(marks)


def segment(sequence: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of A and of all else in one of three segments."""
    is_a = torch.cat([torch.full((s,), n.endswith("lora_A")) for n, s in SIZES.items()])
    number = (sequence + sequence // 5) % 3
    a, rest = (places.nonzero()[:, 0].tensor_split(3)[number] for places in (is_a, ~is_a))
    return a, rest


def in_segment(sequence: int) -> Mask:
    marked = torch.zeros(ENTRIES, dtype=torch.bool)
    marked[torch.cat(segment(sequence))] = True
    return marked


def largest_of_segment(d: torch.Tensor, client: int, sequence: int, start: torch.Tensor) -> Mask:
    """Mark the largest of a segment; densities fall from 1 to 0.3 (A) and 1/4 in halves."""
    marked = torch.zeros(ENTRIES, dtype=torch.bool)
    left = 2 ** (-(sequence // 5) / 2)
    sizes = (8 * 2 * 64 // 3, (ENTRIES - 8 * 2 * 64) // 3)
    for places, size, end in zip(segment(sequence), sizes, (0.3, 0.25), strict=True):
        count = len(places) if left == 1 else int((end + (1 - end) * left) * size)
        marked[places] = largest(d[places], (count + 0.5) / len(places)) if left < 1 else True
    return marked


def mean_of_senders(
    p: torch.Tensor, starts: list[torch.Tensor], updates: list[torch.Tensor], version: int
) -> torch.Tensor:
    total, senders = torch.zeros(ENTRIES), torch.zeros(ENTRIES)
    for i, update in enumerate(updates):
        total += update
        senders[torch.cat(segment(5 * version + i))] += 1
    return total / senders


QUARTER = {"down_density": 1 / 4, "up_density": 1 / 16}
CASES = {
    "dense": (method_from_name("dense"), Rules(all_of, all_of)),
    "top-k": (method_from_name("floss", **QUARTER), floss_of(largest, 1 / 4, 1 / 16)),
    "top-k down alone": (
        method_from_name("floss", down_density=1 / 16),
        Rules(lambda p, version, client, seq: largest(p, 1 / 16), all_of),
    ),
    "top-k of each tensor": (
        method_from_name("floss", **QUARTER, scope="tensor"),
        floss_of(largest_of_each_tensor, 1 / 4, 1 / 16),
    ),
    "the head and top-k of the rest": (
        method_from_name("floss", **QUARTER, dense_head=True),
        floss_of(head_and_largest, 1 / 4, 1 / 16),
    ),
    "random-k": (
        method_from_name("floss", **QUARTER, pick="random"),
        Rules(
            lambda p, version, client, seq: at_random(ENTRIES, 1 / 4, "version", version, "mask"),
            lambda d, client, seq, start: at_random(ENTRIES, 1 / 16, *upload_stream(client, seq)),
        ),
    ),
    "top-k with error feedback": (
        method_from_name("floss", up_density=1 / 16, error_feedback=True),
        Rules(all_of, lambda d, client, seq, start: largest(d, 1 / 16), error_feedback=True),
    ),
    "tiers": (
        method_from_name("floss-tiers", tiers="3:1:1,2:1/4:1/16"),
        Rules(
            lambda p, version, client, seq: all_of() if client < 30 else largest(p, 1 / 4),
            lambda d, client, seq, start: all_of() if client < 30 else largest(d, 1 / 16),
        ),
    ),
    "sparse-adapter": (
        method_from_name("sparse-adapter"),
        Rules(
            all_of,
            mask=lambda p, version, alive: largest(p, 1 / 4) if version == 1 else alive,
        ),
    ),
    # Not after one round: Adam's first step moves all of B by the learning rate, so that which of
    # its entries are largest is a matter of rounding.
    "sparse-adapter of each tensor, after two rounds": (
        replace(
            method_from_name("sparse-adapter"),
            persistent=FrozenMask(TopK(1 / 4, "tensor"), after=2),
        ),
        Rules(
            all_of,
            mask=lambda p, version, alive: (
                largest_of_each_tensor(p, 1 / 4) if version == 2 else alive
            ),
        ),
    ),
    "adapter-lth": (
        method_from_name("adapter-lth", factor=0.9),
        Rules(all_of, mask=lambda p, version, alive: largest(p, 0.9**version)),
    ),
    "hetlora": (
        method_from_name("hetlora", tiers="1:2,1:1"),
        Rules(lambda p, version, client, seq: all_of() if client < 25 else first_rank(p)),
    ),
    "hetlora of the largest ranks": (
        method_from_name("hetlora", tiers="1:1", which="largest"),
        Rules(lambda p, version, client, seq: largest_rank(p)),
    ),
    # Fang et al. 2025, algorithm 1: B S A with S = r / k on k ranks, and the mean of zero-padded
    # updates.
    "fslora": (
        method_from_name("fslora", density=1 / 2),
        Rules(lambda p, version, client, seq: sketch(seq), averages=True, scale=2.0),
    ),
    # Koo et al. 2025: turns, and the ranks of largest ||dB[:, i]|| ||A[i, :]||.
    "lora-a2": (
        method_from_name("lora-a2"),
        Rules(all_of, best_ranks, trained=rolora_turn, averages=True),
    ),
    # Yan et al. 2025: sparsify, reconstruct, decompose.
    "fedsrd": (
        method_from_name("fedsrd", down_density=1 / 2),
        Rules(all_of, by_kurtosis, averages=True, step=product_step),
    ),
    # Liu et al. 2025: another segment for each client, the largest of A and of the rest, residuals.
    "ecolora": (
        method_from_name("ecolora", segments=3, up_density=1 / 4, half_life=2.0),
        Rules(
            all_of,
            largest_of_segment,
            error_feedback=True,
            averages=True,
            step=mean_of_senders,
            waits=in_segment,
        ),
    ),
    # Guo et al. 2025: A, B and head train; B is nobody else's.
    "fedsa-lora": (
        method_from_name("fedsa-lora"),
        Rules(
            lambda p, version, client, seq: half_and_head("A"),
            lambda d, client, seq, start: half_and_head("A"),
            averages=True,
            private=~half_and_head("A"),
        ),
    ),
    # Bai et al. 2024: the mean of products of different ranks, and its SVD for each rank.
    "flexlora": (
        method_from_name("flexlora", tiers="1:2,1:1"),
        Rules(
            lambda p, version, client, seq: all_of() if client < 25 else first_rank(p),
            averages=True,
            step=mean_product,
            cohort=2,
        ),
    ),
    # Bian et al. 2025: B corrected towards the mean product.
    "lora-fair": (
        method_from_name("lora-fair", penalty=0.1),
        Rules(all_of, all_of, averages=True, step=corrected_mean, cohort=2),
    ),
    # Lee et al. 2025: B trains, and A is renewed by the SVD.
    "fedsvd": (
        method_from_name("fedsvd", rebase_every=2),
        Rules(
            all_of,
            lambda d, client, seq, start: half_and_head("B"),
            trained=lambda version, start: half_and_head("B"),
            averages=True,
            step=renewed_basis,
            cohort=2,
        ),
    ),
    # Yang et al. 2024, FedDPA-T: a pair of adapters of rank 1, in turns; the second is private.
    "feddpa": (
        method_from_name("feddpa"),
        Rules(
            lambda p, version, client, seq: first_rank(p),
            lambda d, client, seq, start: first_rank(d),
            averages=True,
            private=~first_rank(torch.zeros(ENTRIES)),
            turns=True,
            scale=2.0,
            rank=1,
            cohort=2,
        ),
    ),
    "freezing": (
        method_from_name("freezing", freeze_every=2),
        Rules(all_of, trained=active_layers, averages=True),
    ),
    # Chen et al. 2025, algorithm 1: clients train one factor, and the server averages it.
    "rolora": (
        method_from_name("rolora"),
        Rules(
            all_of,
            lambda d, client, seq, start: rolora_turn(seq // 5),
            trained=rolora_turn,
            averages=True,
        ),
    ),
    # McMahan et al. 2018: clip, and noise of s C for the sum of five clients.
    "noise by the server": (
        method_from_name("floss", **QUARTER, privacy=DifferentialPrivacy(0.2, 0.5, "server")),
        replace(floss_of(largest, 1 / 4, 1 / 16), clip=0.2, mean_noise=0.1 / 5),
    ),
    "noise in each upload, before the choice of entries": (
        method_from_name(
            "floss", **QUARTER, error_feedback=True, privacy=DifferentialPrivacy(0.2, 0.02, "local")
        ),
        replace(floss_of(largest, 1 / 4, 1 / 16), error_feedback=True, clip=0.2, noise=0.004),
    ),
    "rolora with Adam, a quarter of each turn": (
        method_from_name("rolora", up_density=1 / 4, error_feedback=True),
        Rules(all_of, largest_of_turn, error_feedback=True, trained=rolora_turn),
    ),
}


@pytest.fixture(scope="module")
def models() -> tuple[FlatModel, PeftModel]:
    """The product's model, and one that knows nothing of it."""
    torch.set_num_threads(1)
    config = RunConfig.of(load_task("digits"), method_from_name("dense"), rank=RANK)
    assert {t.name: t.size for t in config.layout.tensors} == SIZES
    base = AutoModelForImageClassification.from_pretrained(
        config.task.backbone_path, num_labels=LABELS, local_files_only=True
    )
    lora = LoraConfig(
        r=RANK,
        lora_alpha=16,
        target_modules=["q_proj", "v_proj"],
        modules_to_save=["classifier"],
    )
    return build_flat_model(config, torch.device("cpu")), get_peft_model(base, lora)


def test_every_selector_is_in_the_table():
    """The methods of other layouts select as FLoSS does."""
    names = {method.name for method, _ in CASES.values()}
    layouts = {"fed-sb", "ravan", "fedkseed", "ffa", "bitfit", "full", "head"}
    assert names == set(METHODS) - layouts - {"flora", "fedex-lora"}  # test_backbone_round.py


@pytest.mark.parametrize(("method", "rules"), CASES.values(), ids=CASES.keys())
def test_the_product_agrees_with_the_pseudocode_over_ten_rounds(
    paper: NetworkProfile, models: tuple[FlatModel, PeftModel], method, rules: Rules
):
    config = RunConfig.of(load_task("digits"), method, rank=rules.rank)
    config = config.with_(server={"cohort": rules.cohort})
    if rules.averages:
        config = config.with_(server={"optimizer": "fedavg", "learning_rate": 1.0})
    same = rules.rank == RANK
    model = models[0] if same else build_flat_model(config, torch.device("cpu"))
    learner = SequentialLearner(config, model)
    run(config, paper, learner, rounds=10)
    slow = SlowFloss(config, rules, models[1])
    for number in range(1, 11):
        slow.round(number)
    # Rounding may flip near ties of the top-k; a flipped entry differs by a step at most.
    difference = np.abs(learner.snapshot().tensors["P"] - slow.P.numpy())
    assert np.quantile(difference, 0.99) < 1e-5
    assert difference.max() < 10 * 5e-3
