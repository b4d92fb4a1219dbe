"""The kinds of generated cases: what is generated, and what is tried with it."""
import functools

from conftest import make_images
from estimators import CLASSIFIERS, small
from fuzzing import made, try_change, try_fit, try_folder, try_predict, try_rest
from generated import FOLDERS, changes, data, estimators, images
from hypothesis import strategies as st
from nearly_saved import CASES, try_nearly

PREDICTING = "ConvNetClassifier", "InceptionV3Classifier", "DeepEnsembleClassifier"


def few(name):
    return small(name, max_epochs=2, **({"frozen_epochs": 1} if name == "InceptionV3Classifier" else {})) \
        if name in CLASSIFIERS else small(name).set_params(estimator__max_epochs=1)


@functools.cache
def fitted(name):
    return few(name).fit(*make_images())


def with_name(cases):
    """`cases` of a name, and the name."""
    return st.sampled_from(PREDICTING).flatmap(lambda name: st.tuples(st.just(name), cases(name)))


KINDS = {
    "data": (data(), lambda case: try_fit(small("ConvNetClassifier", max_epochs=1), *case.make())),
    "parameters": (estimators(), lambda case: try_fit(made(case), *make_images(n=24), None)),
    "data and parameters": (st.tuples(estimators(most=1), data()),
                            lambda case: try_fit(made(case[0]), *case[1].make())),
    "predictions": (with_name(lambda name: images()), lambda case: try_predict(fitted(case[0]), case[1].make())),
    "changes after a fit": (with_name(lambda name: changes(name, 2)),
                            lambda case: try_change(fitted(case[0]), case[1].make(), make_images()[0])),
    "saved, and further training": (estimators(most=2), lambda case: try_rest(made(case), *make_images(n=24))),
    "folders of checkpoints": (st.tuples(st.sampled_from(CLASSIFIERS), st.sampled_from(list(FOLDERS))),
                               lambda case: try_folder(few(case[0]), FOLDERS[case[1]], *make_images(n=24))),
    "nearly saved models": (CASES, try_nearly),
}
