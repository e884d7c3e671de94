"""Callbacks: what happens beside the training loop. Names, arguments and behaviour are Keras's."""

from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.callback_list import CallbackList, check_list
from tinynn.callbacks.csv_logger import CSVLogger
from tinynn.callbacks.early_stopping import EarlyStopping
from tinynn.callbacks.history import History
from tinynn.callbacks.lambda_callback import LambdaCallback
from tinynn.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from tinynn.callbacks.model_checkpoint import ModelCheckpoint
from tinynn.callbacks.progress import ProgressBar, bar_over
from tinynn.callbacks.tensorboard import TensorBoard
from tinynn.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "bar_over",
    "check_list",
]
