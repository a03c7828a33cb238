"""Token that stands for padding in a batch of texts, from a backbone's ``config.json``."""

from __future__ import annotations

from floss_sim.families.family import Config
from floss_sim.families.targets import family_of


def padding_token(config: Config) -> tuple[int, str]:
    """Return the id of the padding token and the key of the config that it comes from.

    It is the config's own padding token if that is in the vocabulary, else its end token, else 0
    (with an empty key). Padding is masked; but GPT-2 and Llama classify at the last token of a text
    that is not the padding token.

    Raises:
        LayoutError: The family is unknown, or the size of the vocabulary is invalid.
    """
    family = family_of(config)
    words = family.sizes["words"](config)
    for key in ("pad_token_id", "eos_token_id"):
        value = config.get(key, family.special_tokens.get(key))
        for token in value if isinstance(value, list) else [value]:
            if type(token) is int and 0 <= token < words:
                return token, key
    return 0, ""
