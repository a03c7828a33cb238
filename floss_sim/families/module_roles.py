"""Roles, layers and stacks of modules in any family, by what the modules are called.

=============  =====================================================================
role           module
=============  =====================================================================
q, k, v        projections to queries, keys and values
qkv            the three in one matrix
o              projection of the attended values
mlp_gate       gate of a gated MLP
mlp_in         first matrix of an MLP
mlp_gate_in    gate and first matrix in one
mlp_out        last matrix of an MLP
=============  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NO_STATE_SPACE = r"(?<!mamba\.)(?<!mixer\.)"  # whose projections have the names of attention's
_NAMES = {  # ends of module paths, by role; the first role that matches counts
    "qkv": rf"c_attn|qkv_proj|Wqkv|query_key_value|qkv|{_NO_STATE_SPACE}in_proj",
    "q": "q_proj|query|q_lin|query_proj|q",
    "k": "k_proj|key|k_lin|key_proj|k",
    "v": "v_proj|value|v_lin|value_proj|v",
    "o": (
        rf"o_proj|{_NO_STATE_SPACE}out_proj|out_lin|(?:attn|attention|self_attn|self_attention)\."
        r"(?:output(?:\.dense)?|c_proj|Wo|dense|proj|o)|\w*(?:Self|EncDec)Attention\.o"
    ),
    "mlp_gate": r"gate_proj|feed_forward\.w1|DenseReluDense\.wi_0",
    "mlp_gate_in": r"gate_up_proj|mlp\.Wi",
    "mlp_in": r"up_proj|fc1|fc_in|intermediate\.dense|c_fc|lin1|dense_h_to_4h|pwconv1|ffn|"
    r"feed_forward\.w3|mlp\.dense1|DenseReluDense\.wi(?:_1)?",
    "mlp_out": r"down_proj|fc2|fc_out|output\.dense|mlp\.c_proj|mlp\.Wo|lin2|dense_4h_to_h|"
    r"pwconv2|ffn_output|feed_forward\.w2|mlp\.dense2|DenseReluDense\.wo",
}
ROLES = {role: re.compile(rf"(?:.*\.)?(?:{names})") for role, names in _NAMES.items()}
_LAYER = re.compile(r"(?:^|(.*?)\.)[^.]*\.(\d+)\.")  # the first number in a path is its layer's


def role_of(path: str) -> str | None:
    """Return the role of a module by its path; None if it has none of the table's names."""
    return next((role for role, names in ROLES.items() if names.fullmatch(path)), None)


def layer_of(path: str) -> int | None:
    """Return the number of the layer that a path goes through; None outside all layers."""
    found = _LAYER.match(path)
    return int(found[2]) if found else None


def stack_of(path: str) -> str | None:
    """Return the module that holds the list of a path's layer; None outside all layers.

    Layers of one stack are numbered together: ``model.encoder.layers.3.fc1`` is in the stack
    ``model.encoder``.
    """
    found = _LAYER.match(path)
    return (found[1] or "") if found else None


def names_by_layer(names: Iterable[str]) -> dict[tuple[str | None, int | None], list[str]]:
    """Return names by the stack and number of their layer; (None, None) outside all layers."""
    found: dict[tuple[str | None, int | None], list[str]] = {}
    for name in names:
        found.setdefault((stack_of(name), layer_of(name)), []).append(name)
    return found
