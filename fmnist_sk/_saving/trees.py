"""Decision trees as arrays: their nodes, one tree after another."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.tree._tree import NODE_DTYPE, Tree

from fmnist_sk._saving.fields import array, floats, integers, labels, n_features
from fmnist_sk._storage.values import OBJECT

FIELDS = {
    "n_features_in_": n_features, "classes_": labels("k"),
    "counts": integers("trees", low=1), "values": floats("nodes", 1, "k"),
    **{f"node_{name}": array({"f": "f", "i": "iu", "u": "iu"}[NODE_DTYPE[name].kind], "nodes")
       for name in NODE_DTYPE.names or ()},
}


def pack(part: Any) -> dict[str, Any]:
    """Arrays of a tree's or forest's nodes."""
    if part.n_outputs_ != 1:
        raise ValueError(f"{type(part).__name__} can be saved for one label per image, got {part.n_outputs_}.")
    members = getattr(part, "estimators_", [part])
    states = [member.tree_.__getstate__() for member in members]
    nodes = np.concatenate([state["nodes"] for state in states])
    return {**vars(part), "counts": np.array([len(state["nodes"]) for state in states]),
            "values": np.concatenate([state["values"] for state in states]),
            **{f"node_{name}": nodes[name].copy() for name in NODE_DTYPE.names or ()}}


def lead_somewhere(part: Any, fitted: dict[str, Any]) -> bool:
    """Whether in each tree children come after their parent, and nodes refer to existing features.

    Otherwise scikit-learn's compiled code would access memory outside its arrays.
    """
    counts, left, right = (fitted[name] for name in ("counts", "node_left_child", "node_right_child"))
    is_one = isinstance(part, (DecisionTreeClassifier, ExtraTreeClassifier))
    if sum(counts.tolist()) != len(left) or not len(counts) or (is_one and len(counts) != 1):
        return False
    place = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)        # of a node in its tree
    inner, feature = left != -1, fitted["node_feature"]
    for child in (left, right):
        if not ((child[inner] > place[inner]) & (child[inner] < np.repeat(counts, counts)[inner])).all():
            return False
    return bool((right[~inner] == -1).all() and (feature[inner] >= 0).all()
                and (feature[inner] < fitted["n_features_in_"]).all())


def cost(fitted: dict[str, Any]) -> int:
    """Bytes that trees take: a few thousand each, and what scikit-learn stores per node, whatever the arrays' types."""
    return OBJECT * len(fitted["counts"]) + (NODE_DTYPE.itemsize + 100 + 8 * fitted["values"].shape[2]) * len(
        fitted["values"])


def unpack(part: Any, fitted: dict[str, Any]) -> None:
    """The fitted attributes of a tree or a forest."""
    n, classes = fitted["n_features_in_"], fitted["classes_"]
    nodes = np.empty(len(fitted["node_feature"]), dtype=NODE_DTYPE)
    for name in NODE_DTYPE.names or ():
        nodes[name] = fitted[f"node_{name}"]
    common = {"n_features_in_": n, "n_outputs_": 1, "n_classes_": len(classes)}
    own = {name: fitted[name] for name in ("feature_names_in_",) if name in fitted}
    vars(part).update(common, classes_=classes, **own)
    trees, end = [], 0
    for count in fitted["counts"].tolist():
        start, end = end, end + count
        tree = Tree(n, np.array([len(classes)], dtype=np.intp), 1)
        tree.__setstate__({"max_depth": _depth(nodes[start:end]), "node_count": count, "nodes": nodes[start:end],
                           "values": np.ascontiguousarray(fitted["values"][start:end], dtype=np.float64)})
        trees.append(tree)
    if isinstance(part, (DecisionTreeClassifier, ExtraTreeClassifier)):
        part.tree_ = trees[0]
        return
    shared = {name: getattr(part, name) for name in part.estimator_params}
    part.estimators_ = [type(part.estimator)(**shared) for _ in trees]
    for member, tree in zip(part.estimators_, trees, strict=True):
        vars(member).update(common, classes_=np.arange(len(classes), dtype=np.float64), tree_=tree)


def _depth(nodes: np.ndarray) -> int:
    """Length of the longest path; scikit-learn's compiled code writes as many numbers as the stored depth says."""
    depths = [0] * len(nodes)
    for i, (left, right) in enumerate(zip(nodes["left_child"].tolist(), nodes["right_child"].tolist(), strict=True)):
        for child in (left, right) if left >= 0 else ():
            depths[child] = max(depths[child], depths[i] + 1)
    return max(depths)
