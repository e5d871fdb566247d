"""Geometry of the curve by layer."""

from tests.unhitch.evals.report.scorecards import NOTHING, arm, full, rate
from unhitch.evals.report.curve import HEIGHT, Curve, down
from unhitch.evidence.scorecard import PASSTHROUGH, LayerRow


def test_layers_stand_in_their_order_from_left_to_right() -> None:
    layers = [LayerRow(layer=number, good=rate(0.5)) for number in (3, 1, 2)]
    curve = Curve.of(layers, ())
    assert [(point.layer, point.x) for point in curve.points] == [(1, 2.0), (2, 50.0), (3, 98.0)]


def test_more_good_answers_stand_higher() -> None:
    assert (down(1.0), down(0.25), down(0.0)) == (0.0, 0.75 * HEIGHT, HEIGHT)


def test_a_layer_without_a_share_is_left_out() -> None:
    layers = [LayerRow(layer=0, good=NOTHING), LayerRow(layer=1, good=rate(0.5))]
    assert [(point.layer, point.x) for point in Curve.of(layers, ()).points] == [(1, 50.0)]


def test_many_layers_have_few_labels() -> None:
    curve = Curve.of([LayerRow(layer=number, good=rate(0.5)) for number in range(80)], ())
    assert [point.layer for point in curve.points if point.labelled] == list(range(0, 80, 9))


def test_the_unmitigated_arm_and_the_base_are_levels() -> None:
    levels = Curve.of(full().layers, full().arms).levels
    assert [(level.name, level.y) for level in levels] == [(PASSTHROUGH, down(0.41)), ("base", down(0.95))]


def test_an_arm_without_a_share_is_no_level() -> None:
    assert Curve.of((), [arm("base", 0.5, 0.1).model_copy(update={"good": NOTHING})]).levels == ()


def test_the_best_layer_is_the_first_of_the_highest() -> None:
    layers = [LayerRow(layer=number, good=rate(share)) for number, share in enumerate((0.1, 0.9, 0.9))]
    best = Curve.of(layers, ()).best
    assert best is not None
    assert best.layer == 1


def test_without_layers_there_is_nothing() -> None:
    assert (Curve.of((), ()).points, Curve.of((), ()).segments, Curve.of((), ()).best) == ((), [], None)
