"""Our side: the training loop's own step on the same rows. Prints one JSON line; options as in peer_trl.py."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from bench.peer_trl import WARM_UP, arguments
from tunesmith.models.template import Renderer
from tunesmith.types.conversation import Conversation, Rendered


def main() -> None:
    """Train and print tokens per second, peak memory and the losses."""
    given = arguments()
    from tunesmith.models.method import ParameterGroup
    from tunesmith.models.methods.lora import Lora
    from tunesmith.models.weights import load_base
    from tunesmith.train import attention
    from tunesmith.train.forward import score
    from tunesmith.train.objective import Group
    from tunesmith.train.objectives.sft import Sft
    from tunesmith.train.optimizer import clip_gradients, make_optimizer

    renderer = Renderer(Path(given.model))
    lines = Path(given.data).read_text(encoding="utf-8").splitlines()[: given.batch * given.steps]
    rows = [_as_trl(renderer, Conversation.model_validate_json(line)) for line in lines]
    attention.register()
    model = load_base(Path(given.model), given.precision, attention=attention.ATTENTION)
    model = Lora(rank=given.rank).wrap(model, seed=0).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer([ParameterGroup(parameters)], given.learning_rate, 0.0)
    objective = Sft()
    losses, computed, start = [], 0, 0.0
    for step in range(given.steps):
        if step == WARM_UP:
            start, computed = time.perf_counter(), 0
        batch = rows[step * given.batch : (step + 1) * given.batch]
        groups = [Group((row,)) for row in batch]
        scored = score(model, batch, "tree")
        loss = objective.loss(scored, groups, objective.amount(groups))
        loss.backward()
        clip_gradients(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        computed += scored.computed_tokens
    seconds = time.perf_counter() - start
    tokens = sum(len(row.token_ids) for row in rows[WARM_UP * given.batch :])
    result = {
        "tokens_per_second": tokens / seconds,
        "computed_tokens_per_second": computed / seconds,
        "seconds": seconds,
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"side": "ours", "tokens": tokens, **result, "peak_mb": peak, "losses": losses}))


def _as_trl(renderer: Renderer, conversation: Conversation) -> Rendered:
    """The row with what the template puts after the last end-of-turn token trained too, as TRL does."""
    row = renderer.render(conversation)
    rest = renderer.official_ids(conversation)[len(row.token_ids) :]
    return Rendered(token_ids=row.token_ids + rest, loss_weights=row.loss_weights + (1.0,) * len(rest), spans=row.spans)


if __name__ == "__main__":
    main()
