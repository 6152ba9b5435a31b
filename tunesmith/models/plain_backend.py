"""The library behind a tokenizer, asked without the way through transformers, which takes longer than its work."""

from __future__ import annotations

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, TokenizersBackend

__all__ = ["plain_backend"]

# What transformers does around the library when a text is encoded or ids are decoded. A class that changes any of it
# has a reason to.
_AROUND = ("__call__", "decode", "_decode", "_encode_plus", "set_truncation_and_padding", "_convert_encoding")


def plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """The library's tokenizer, set to encode texts whole; None where `tokenizer` is not of it, or of a class that does
    more than hand texts and ids on.

    Its `encode(text, add_special_tokens=False).ids` and `decode(ids, skip_special_tokens=...)` then are what
    `tokenizer` itself would give, until that is asked to truncate or pad.
    """
    if not isinstance(tokenizer, TokenizersBackend):
        return None
    if tokenizer.clean_up_tokenization_spaces or tokenizer.split_special_tokens:
        return None
    if any(getattr(type(tokenizer), name) is not getattr(TokenizersBackend, name) for name in _AROUND):
        return None
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend
