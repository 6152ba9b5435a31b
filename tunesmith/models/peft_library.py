"""What we use of peft, imported without what it does not need: the one place that imports it.

peft imports bitsandbytes wherever that is installed, and bitsandbytes wraps four of its functions in `torch.compile`,
which loads all of PyTorch's compiler: seconds at the start of every command. Those four are fallbacks for devices
without kernels of their own; the devices that we train on have them.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _nothing_is_compiled() -> Iterator[None]:
    """What `torch.compile` decorates inside the block stays as it is; afterwards it compiles again."""
    name = "TORCHDYNAMO_DISABLE"  # read at each call of torch.compile
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _nothing_is_missed() -> Iterator[None]:
    """bitsandbytes warns and logs what the machine does not have (faster kernels that could be downloaded, say).

    What is needed and not there is refused where it is asked for.
    """
    logger = logging.getLogger("bitsandbytes")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


with _nothing_is_compiled(), _nothing_is_missed():
    from peft import (
        PEFT_TYPE_TO_CONFIG_MAPPING,
        AdaLoraConfig,
        EvaConfig,
        IA3Config,
        LoraConfig,
        OFTConfig,
        PeftConfig,
        PeftModel,
        PeftType,
        PrefixTuningConfig,
        PromptTuningConfig,
        VeraConfig,
        get_eva_state_dict,
        get_peft_model,
        get_peft_model_state_dict,
        set_peft_model_state_dict,
    )
    from peft.tuners.lora.layer import Linear as LoraLinear
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
        TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    )

__all__ = [
    "PEFT_TYPE_TO_CONFIG_MAPPING",
    "TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING",
    "TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING",
    "AdaLoraConfig",
    "EvaConfig",
    "IA3Config",
    "LoraConfig",
    "LoraLinear",
    "OFTConfig",
    "PeftConfig",
    "PeftModel",
    "PeftType",
    "PrefixTuningConfig",
    "PromptTuningConfig",
    "VeraConfig",
    "get_eva_state_dict",
    "get_peft_model",
    "get_peft_model_state_dict",
    "set_peft_model_state_dict",
]
