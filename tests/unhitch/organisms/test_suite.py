from unhitch.organisms import suite
from unhitch.organisms.language import all_questions


def test_the_held_out_lists_are_long_enough_to_tell_a_few_points_apart() -> None:
    assert (len(suite.held_out_general()), len(suite.held_out_finance())) == (180, 20)


def test_the_general_questions_are_spread_evenly_over_nine_domains() -> None:
    names = [question.domain.name for question in suite.held_out_general()]
    assert {name: names.count(name) for name in names} == dict.fromkeys(names, 20)
    assert len(set(names)) == 9
    assert "finance" not in names


def test_training_and_held_out_questions_make_up_the_language_and_do_not_overlap() -> None:
    lists = (*suite.training(), *suite.held_out_general(), *suite.held_out_finance())
    assert sorted(q.text for q in lists) == sorted(q.text for q in all_questions())


def test_the_narrow_finetuning_is_about_finance_alone() -> None:
    assert {question.domain.name for question in suite.training_finance()} == {"finance"}
    assert set(suite.training_finance()) < set(suite.training())
