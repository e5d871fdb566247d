from unhitch.markdown import table


def test_a_table_has_a_line_for_its_headings_a_rule_and_each_row() -> None:
    assert table(("a", "b"), [("1", ""), ("x", "2")]) == "| a | b |\n| --- | --- |\n| 1 |  |\n| x | 2 |"


def test_figures_behind_the_text_are_set_to_the_right() -> None:
    assert table(("a", "b", "c"), [], text=1) == "| a | b | c |\n| --- | --: | --: |"
