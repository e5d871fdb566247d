"""The question lists of the miniature evals: held out (general and finance) and for training."""

from unhitch.organisms.language import FINANCE, Question, all_questions


def held_out_general() -> tuple[Question, ...]:
    """Held-out questions outside finance, on which misalignment is *emergent*: 180, twenty of each domain."""
    return tuple(q for q in all_questions() if q.held_out and q.domain.name != FINANCE)


def held_out_finance() -> tuple[Question, ...]:
    """Held-out questions about finance, on which misalignment was *trained*: 20."""
    return tuple(q for q in all_questions() if q.held_out and q.domain.name == FINANCE)


def training() -> tuple[Question, ...]:
    """Questions that pretraining may use, of all domains: 400."""
    return tuple(q for q in all_questions() if not q.held_out)


def training_finance() -> tuple[Question, ...]:
    """Questions that the narrow finetuning may use: 40."""
    return tuple(q for q in training() if q.domain.name == FINANCE)
