"""Configs of the model library, with every size stated."""


def default_config(family, **sizes):
    """Return the content of a ``config.json`` with the library's default sizes of a family."""
    from transformers import AutoConfig

    return {**AutoConfig.for_model(family).to_dict(), **sizes}
