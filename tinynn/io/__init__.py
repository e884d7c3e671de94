"""Files: weights in the safetensors format, written whole or not at all, and read with suspicion.

``model.save_weights(path)`` and ``model.load_weights(path)`` do it for a model; the functions here do it for any
layer that is built. Nothing in a file is ever run as code.
"""

from tinynn.io.model_file import load_model
from tinynn.io.weights import load_weights, read_metadata, save_weights

__all__ = ["load_model", "load_weights", "read_metadata", "save_weights"]
