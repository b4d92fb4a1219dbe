"""Files of save() that are not what it wrote."""
import json

import safetensors.torch
from safetensors import safe_open

from fmnist_sk._storage.document import digest_of


def rewritten(path, change):
    """The file with its settings or tensors changed."""
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["fmnist_sk"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}          # noqa: SIM118
    change(content, tensors)
    content["digest"] = digest_of(content, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {"fmnist_sk": json.dumps(content)}))
