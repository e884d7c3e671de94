"""Arrays in, batches out: what is checked before training sees it, how data are split, shuffled and cut."""

from tinynn.data import augmentation
from tinynn.data.arrays import as_array, check_array
from tinynn.data.classes import class_numbers, to_categorical, weights_of_classes
from tinynn.data.dataset import Dataset
from tinynn.data.samples import Samples, batch_samples, batches, check_samples, split
from tinynn.data.sources import ArraySource, IterableSource, Source, is_batches

__all__ = [
    "ArraySource",
    "Dataset",
    "IterableSource",
    "Samples",
    "Source",
    "as_array",
    "augmentation",
    "batch_samples",
    "batches",
    "check_array",
    "check_samples",
    "class_numbers",
    "is_batches",
    "split",
    "to_categorical",
    "weights_of_classes",
]
