import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fcnxs.compat import mxnet as mx
from fcnxs.metric import LOSS_UNIT, SegmentationMetric
from fcnxs.score import confusion_matrix, scores

CLASSES = 4
truths = arrays(np.uint8, (6, 5), elements=st.sampled_from([0, 1, 2, 3, 255]))
predictions = arrays(np.uint8, (6, 5), elements=st.integers(0, CLASSES - 1))


def by_hand(truth, prediction):
    """The definitions of the FCN paper, section 5, as sets of pixels."""
    counted = truth != 255
    total, hits, accuracies, ius, weighted = counted.sum(), 0, [], [], 0.0
    for c in range(CLASSES):
        is_c, said_c = (truth == c) & counted, (prediction == c) & counted
        both, either = (is_c & said_c).sum(), (is_c | said_c).sum()
        hits += both
        if is_c.any():
            accuracies.append(both / is_c.sum())
            weighted += is_c.sum() * both / either
        if either:
            ius.append(both / either)
    if not total:
        return [np.nan] * 4
    return [hits / total, np.mean(accuracies), np.mean(ius), weighted / total]


@given(truths, predictions)
def test_scores_equal_the_definitions(truth, prediction):
    result = scores(confusion_matrix(truth, prediction, CLASSES))
    four = [result.pixel_accuracy, result.mean_accuracy, result.mean_iu, result.frequency_weighted_iu]
    np.testing.assert_allclose(four, by_hand(truth, prediction), rtol=1e-12)


@given(truths, predictions)
def test_confusion_matrix_equals_scikit_learn_s(truth, prediction):
    counted = truth != 255
    if counted.any():
        expected = sklearn.metrics.confusion_matrix(truth[counted], prediction[counted], labels=range(CLASSES))
        np.testing.assert_array_equal(confusion_matrix(truth, prediction, CLASSES), expected)


@given(truths, predictions)
def test_scores_equal_gluoncv_s_class_by_class(truth, prediction):
    """Its pixel accuracy, and its IU of each class that occurs; its mean counts the others as 0."""
    from fcnxs.compat import gluoncv

    metric = gluoncv.utils.metrics.segmentation.SegmentationMetric(CLASSES)
    label = np.where(truth == 255, -1, truth.astype(np.int64))
    one_hot = np.arange(CLASSES)[:, None, None] == prediction
    metric.update(mx.nd.array(label[None]), mx.nd.array(one_hot[None]))
    result = scores(confusion_matrix(truth, prediction, CLASSES))
    present = metric.total_union > 0
    np.testing.assert_array_equal(present, ~np.isnan(result.class_iu))
    np.testing.assert_allclose(
        result.class_iu[present], (metric.total_inter / np.maximum(metric.total_union, 1))[present], rtol=1e-12
    )
    if (truth != 255).any():
        assert result.pixel_accuracy == pytest.approx(metric.get()[0], rel=1e-12)


def test_known_case():
    """Class 2 is only predicted, class 3 nowhere: 2 counts for mean IU alone, 3 for nothing."""
    truth = np.array([[0, 0, 0, 1, 1, 255]])
    prediction = np.array([[0, 0, 2, 1, 0, 3]])
    matrix = confusion_matrix(truth, prediction, CLASSES)
    assert matrix.tolist() == [[2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    result = scores(matrix)
    assert result.pixel_accuracy == pytest.approx(3 / 5)
    assert result.mean_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.mean_iu == pytest.approx((2 / 4 + 1 / 2 + 0) / 3)
    assert result.frequency_weighted_iu == pytest.approx((3 * 2 / 4 + 2 * 1 / 2) / 5)
    assert result.class_iu[:3].tolist() == [0.5, 0.5, 0] and np.isnan(result.class_iu[3])


@given(truths, predictions, truths, predictions)
def test_matrices_of_images_add_up(t1, p1, t2, p2):
    both = confusion_matrix(np.concatenate([t1, t2]), np.concatenate([p1, p2]), CLASSES)
    assert (both == confusion_matrix(t1, p1, CLASSES) + confusion_matrix(t2, p2, CLASSES)).all()


def test_nothing_to_score_is_none_in_json():
    result = scores(np.zeros((3, 3), np.int64))
    assert set(result.as_json().values()) == {None}


def test_metric_counts_loss_and_pixels_without_255(ctx):
    rng = np.random.default_rng(0)
    metric = SegmentationMetric(3)
    losses, matrix = [], np.zeros((3, 3), np.int64)
    for shape in ((1, 5, 7), (2, 4, 3)):
        logits = rng.normal(size=(shape[0], 3, *shape[1:]))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        label = rng.choice([0, 1, 2, 255], shape)
        step = metric.update([mx.nd.array(label)], [mx.nd.array(p, ctx)])
        image, y, x = np.nonzero(label != 255)
        expected = -np.log(p[image, label[image, y, x], y, x])
        assert step == pytest.approx(expected.mean(), rel=1e-5)
        losses.extend(expected)
        matrix += confusion_matrix(label, p.argmax(1), 3)
    names, values = metric.get()
    assert names == ["loss", "pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"]
    assert values[0] == pytest.approx(np.mean(losses), rel=1e-5)
    assert values[3] == pytest.approx(scores(matrix).mean_iu)
    assert np.isnan(metric.update([mx.nd.full((1, 2, 2), 255)], [mx.nd.ones((1, 3, 2, 2), ctx)]))
    assert metric.get()[1] == values


def test_the_loss_is_the_same_in_any_order_of_the_batches():
    """As a run of two processes adds them, whole or resumed inside an epoch; float64's own sums are not."""
    rng, sums = np.random.default_rng(0), set()
    probabilities = mx.nd.array(rng.dirichlet(np.full(3, 0.05), (40, 20, 30)).transpose(0, 3, 1, 2))
    labels = mx.nd.array(rng.integers(0, 3, (40, 20, 30)))
    for _ in range(9):
        first, second = SegmentationMetric(3), SegmentationMetric(3)
        for number, i in enumerate(rng.permutation(40)):
            (first if number < 13 else second).update([labels[i : i + 1]], [probabilities[i : i + 1]])
        sums.add(first.loss_sum + second.loss_sum)
    picked = np.take_along_axis(probabilities.asnumpy(), labels.asnumpy().astype(int)[:, None], axis=1)
    exact = -np.log(np.maximum(picked.astype(np.float64), 1e-37)).sum()
    assert len(sums) == 1 and sums.pop() == pytest.approx(exact, rel=0, abs=40 * LOSS_UNIT / 2)


@given(truths, predictions)
def test_precision_recall_and_f1_equal_scikit_learn_s(truth, prediction):
    counted = truth != 255
    if counted.any():
        expected = sklearn.metrics.precision_recall_fscore_support(
            truth[counted], prediction[counted], labels=range(CLASSES), zero_division=np.nan
        )
        result = scores(confusion_matrix(truth, prediction, CLASSES))
        found = (result.class_precision, result.class_recall, result.class_f1, result.class_pixels)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scores_of_classes_by_hand():
    """Class 0: 6 of 8 found, 6 of 7 right; 1: never predicted; 2: never in the labels; 3: in neither."""
    matrix = np.array([[6, 0, 2, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    first, second, third, fourth = scores(matrix).of_classes(["a", "b", "c", "d"])
    assert first == {
        **{"class": "a", "pixels": 8, "accuracy": 6 / 8, "recall": 6 / 8},
        **{"precision": 6 / 7, "iu": 6 / 9, "f1": 12 / 15},
    }
    assert second == {
        **{"class": "b", "pixels": 2, "accuracy": 0, "recall": 0, "precision": None, "iu": 0, "f1": 0}
    }
    assert third == {
        **{"class": "c", "pixels": 0, "accuracy": None, "recall": None, "precision": 0, "iu": 0, "f1": 0}
    }
    nothing = dict.fromkeys(("accuracy", "recall", "precision", "iu", "f1"))
    assert fourth == {"class": "d", "pixels": 0, **nothing}
