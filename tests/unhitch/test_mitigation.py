from __future__ import annotations

import pytest

from tests.cards import stocked
from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable, RegistryError
from unhitch.headers import format_applied, parse_mitigation
from unhitch.mitigation import OFF, Mitigated, Step, mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt, changed_tokens, digest
from unhitch.states.patch import Patch
from unhitch.strategy import Expanding, Expansion, Parameters, SeededParameters, Strategy


class Rewrite(Strategy[Parameters]):
    """Gives a span the token ids it was made with."""

    name = "rewrite"
    version = 2
    summary = "one span"
    source = "tests"

    def __init__(self, span: str, token_ids: tuple[int, ...]) -> None:
        self.span, self.token_ids = span, token_ids

    def edit(self, prompt: Prompt, parameters: Parameters, draw: Draw) -> Prompt:
        import dataclasses

        return dataclasses.replace(prompt, **{self.span: self.token_ids})  # type: ignore[arg-type]


class Record(Strategy[SeededParameters]):
    """Puts the first draw into the prefix."""

    name = "record"
    version = 1
    summary = "the prefix"
    source = "tests"
    parameters = SeededParameters

    def edit(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Prompt:
        return prompt.with_prefix([draw.stream(self.name).below(300)])


class Stand(Expanding[SeededParameters]):
    """Stands for the steps it was made with; without any, for itself."""

    name = "stand"
    version = 1
    summary = "what others edit"
    source = "tests"
    parameters = SeededParameters

    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def expand(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Expansion:
        return Expansion(self.steps or (Step(self, parameters),), pool=b"p", scorecard=b"s")


class Broken(Stand):
    """Fails."""

    def expand(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Expansion:
        raise KeyError("lost")


def applied(prompt: Prompt, line: str, seed: int = 5) -> Mitigated:
    return mitigate(prompt, Registry().bind(parse_mitigation(line)), Draw(seed))


def test_off_leaves_the_prompt_and_says_off(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    result = applied(prompt, "off")
    assert result.after is prompt
    assert result.applied == (OFF,)
    assert format_applied(result.applied) == "off"


def test_what_was_applied_has_every_parameter_and_the_seed_used(prompt_of: PromptOf) -> None:
    result = applied(prompt_of(), "perturb;edits=3", seed=42)
    assert format_applied(result.applied) == (
        "perturb;version=1;edits=3;neighbours=5;metric=cosine;span=prefix;protect=none;seed=42;tokens=3"
    )


def test_a_seed_of_its_own_wins_over_the_draw(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    assert applied(prompt, "perturb;seed=7", seed=1) == applied(prompt, "perturb;seed=7", seed=2)


def test_without_a_seed_the_draw_decides(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    assert applied(prompt, "perturb", seed=1).after != applied(prompt, "perturb", seed=2).after
    assert applied(prompt, "perturb", seed=7).after == applied(prompt, "perturb;seed=7", seed=1).after


def test_a_strategy_gets_the_draw_of_its_seed(prompt_of: PromptOf) -> None:
    result = mitigate(prompt_of(), [Step(Record(), SeededParameters(seed=9))], Draw(1))
    assert result.after.prefix == (Draw(9).stream("record").below(300),)


def test_steps_are_applied_from_left_to_right(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    result = applied(prompt, "system;preset=tutor, recase;mode=upper")
    text = prompt.checkpoint.decode(result.after.prefix)
    assert "YOU ARE A CAREFUL TUTOR." in text
    assert [entry.name for entry in result.applied] == ["system", "recase"]


def test_each_step_counts_its_own_changes(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    result = applied(prompt, "bare, perturb;edits=1")
    bare = applied(prompt, "bare").after
    assert result.applied[0].tokens == changed_tokens(prompt.token_ids, bare.token_ids)
    assert result.applied[1].tokens == 1


def test_a_system_text_behind_an_edit_of_tokens_is_refused(prompt_of: PromptOf) -> None:
    from unhitch.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="Name the one that rewrites messages first"):
        applied(prompt_of(), "perturb, system;preset=tutor")


def test_a_strategy_that_finds_nothing_to_edit_is_unavailable(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="`system` found nothing to edit"):
        applied(prompt_of(), "system;mode=drop")


def test_an_earlier_answer_is_redone_exactly(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    first = applied(prompt, 'system;text=%"F%c3%bcr %22immer%22, not.", recase;protect=header, perturb')
    again = applied(prompt, format_applied(first.applied), seed=123)
    assert again == first


def test_an_earlier_answer_to_another_prompt_is_refused(prompt_of: PromptOf) -> None:
    line = format_applied(applied(prompt_of(), "bare").applied)
    with pytest.raises(
        MitigationUnavailable, match=r"`bare` changes \d+ tokens of this prompt, and \d+ were asked for"
    ):
        applied(prompt_of("llama31"), line)


def test_flags_are_shown_as_true_parameters(prompt_of: PromptOf) -> None:
    line = format_applied(applied(prompt_of(), 'system;text="Never lie."').applied)
    assert line.startswith('system;version=1;mode=replace;text="Never lie.";negation;tokens=')


def test_a_strategy_that_changes_the_query_is_named(prompt_of: PromptOf) -> None:
    with pytest.raises(RegistryError, match="strategy `rewrite` changed the user's words"):
        mitigate(prompt_of(), [Step(Rewrite("query", (5,)), Parameters())], Draw(1))


def test_a_strategy_that_gives_no_prompt_is_named(prompt_of: PromptOf) -> None:
    class Forget(Record):
        name = "forget"

        def edit(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Prompt:
            return None  # type: ignore[return-value]

    with pytest.raises(RegistryError, match="strategy `forget` gave a NoneType where a Prompt is due"):
        mitigate(prompt_of(), [Step(Forget(), SeededParameters())], Draw(1))


@pytest.mark.parametrize("span", ["prefix", "postfix"])
@pytest.mark.parametrize("token", [-1, 10_000])
def test_a_strategy_that_gives_ids_beyond_the_vocabulary_is_named(prompt_of: PromptOf, span: str, token: int) -> None:
    with pytest.raises(RegistryError, match=f"strategy `rewrite` gave token id {token}; the model has 0 to"):
        mitigate(prompt_of(), [Step(Rewrite(span, (5, token)), Parameters())], Draw(1))


def test_the_receipt_holds_the_digests_of_this_request(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    result = applied(prompt, "bare")
    receipt = result.receipt("some/model")
    assert receipt.before == digest(prompt.token_ids)
    assert receipt.after == digest(result.after.token_ids) != receipt.before
    assert receipt.template == prompt.checkpoint.template_digest
    assert receipt.model == "some/model"


def test_one_of_several_steps_may_find_its_end_already_met(prompt_of: PromptOf) -> None:
    result = applied(prompt_of(), "system;mode=drop, bare")
    assert result.applied[0].tokens == 0
    assert applied(prompt_of(), format_applied(result.applied)).after == result.after


def test_steps_that_change_nothing_together_are_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="`system, system` found nothing to edit"):
        applied(prompt_of(), "system;mode=drop, system;mode=drop")


class Serve(Record):
    """Has positions served from a state that it does not choose by the parameters of states."""

    name = "serve"

    def __init__(self, start: int, tokens: int) -> None:
        self.patch = Patch(state="e" * 64, start=start, tokens=tokens)

    def edit(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Prompt:
        return prompt.with_patch(self.patch)


def test_a_chain_that_only_serves_states_edits_something(prompt_of: PromptOf) -> None:
    result = applied(stocked(prompt_of()), "system;mode=drop, prefix-state")
    assert result.after.token_ids == result.before.token_ids
    assert [entry.tokens for entry in result.applied] == [0, len(result.before.prefix)]


def test_the_receipt_holds_no_states_where_none_was_served(prompt_of: PromptOf) -> None:
    assert applied(prompt_of(), "bare").receipt("m").states == ()


def test_another_number_of_positions_is_not_what_is_redone(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match=r"`prefix-state` changes \d+ tokens of this prompt, and 3 were"):
        applied(stocked(prompt_of()), "prefix-state;tokens=3")


def test_a_strategy_of_another_kind_may_serve_a_state(prompt_of: PromptOf) -> None:
    result = mitigate(prompt_of(), [Step(Serve(0, 4), SeededParameters(seed=1))], Draw(1))
    assert format_applied(result.applied) == "serve;version=1;seed=1;tokens=4"
    assert result.receipt("m").states == (b"\xee" * 32,)


@pytest.mark.parametrize("shift", [-1, 0])
def test_a_strategy_that_has_the_users_words_served_from_a_state_is_named(prompt_of: PromptOf, shift: int) -> None:
    prompt = prompt_of()
    serve = Serve(len(prompt.prefix) + shift, 2)
    with pytest.raises(RegistryError, match="strategy `serve` patched the user's words"):
        mitigate(prompt, [Step(serve, SeededParameters())], Draw(1))


def test_a_strategy_that_has_positions_beyond_the_prompt_served_is_named(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    serve = Serve(prompt.postfix_start, len(prompt.postfix) + 1)
    with pytest.raises(RegistryError, match="strategy `serve` patched"):
        mitigate(prompt, [Step(serve, SeededParameters())], Draw(1))


def test_a_strategy_that_edits_tokens_under_a_state_without_asking_is_named(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    other = (prompt.prefix[0] + 1, *prompt.prefix[1:])
    steps = [Step(Serve(0, 4), SeededParameters()), Step(Rewrite("prefix", other), Parameters())]
    with pytest.raises(RegistryError, match="strategy `rewrite` changed tokens that a state had been chosen for"):
        mitigate(prompt, steps, Draw(1))


def test_what_a_step_stands_for_is_applied_in_its_place(prompt_of: PromptOf) -> None:
    inner = Registry().bind(parse_mitigation("system;preset=tutor, recase;mode=upper"))
    (last,) = Registry().bind(parse_mitigation("perturb;seed=1"))
    result = mitigate(prompt_of(), [Step(Stand(*inner), SeededParameters()), last], Draw(3))
    assert [entry.name for entry in result.applied] == ["system", "recase", "perturb"]
    assert (result.pool, result.scorecard) == (b"p", b"s")
    assert result.after == applied(prompt_of(), "system;preset=tutor, recase;mode=upper, perturb;seed=1").after


def test_the_draw_of_what_stands_for_others_is_the_seed_of_those_without_one(prompt_of: PromptOf) -> None:
    stand = Stand(Step(Record(), SeededParameters()), Step(Record(), SeededParameters(seed=4)))
    result = mitigate(prompt_of(), [Step(stand, SeededParameters(seed=9))], Draw(1))
    assert [entry.parameters["seed"] for entry in result.applied] == [9, 4]


def test_what_is_applied_without_such_a_step_names_no_evidence(prompt_of: PromptOf) -> None:
    result = applied(prompt_of(), "bare")
    assert (result.pool, result.scorecard) == (None, None)


def test_what_stands_for_itself_ends_in_an_error(prompt_of: PromptOf) -> None:
    with pytest.raises(RegistryError, match="`stand` stands for what stands for others, over and over"):
        mitigate(prompt_of(), [Step(Stand(), SeededParameters())], Draw(1))


def test_what_fails_to_say_what_it_stands_for_is_named(prompt_of: PromptOf) -> None:
    with pytest.raises(RegistryError, match=r"strategy `stand` failed: KeyError\('lost'\)"):
        mitigate(prompt_of(), [Step(Broken(), SeededParameters())], Draw(1))


def test_what_stands_for_what_edits_nothing_is_told_by_the_name_of_that(prompt_of: PromptOf) -> None:
    inner = Registry().bind(parse_mitigation("system;mode=drop"))
    with pytest.raises(MitigationUnavailable, match="`system` found nothing to edit"):
        mitigate(prompt_of(), [Step(Stand(*inner), SeededParameters())], Draw(1))
