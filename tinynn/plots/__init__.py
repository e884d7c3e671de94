"""Pictures of training: history, examination, confusion matrix, mistakes, weights. Needs the extra ``viz``: matplotlib.

Each function returns a matplotlib Figure and, given a path, writes it there. A notebook shows a Figure at the end of
a cell once ``%matplotlib inline`` was run.
"""

from tinynn.plots.common import need_matplotlib
from tinynn.plots.confusion import confusion_matrix
from tinynn.plots.curves import history
from tinynn.plots.findings import examination
from tinynn.plots.images import mistakes, weights

__all__ = ["confusion_matrix", "examination", "history", "mistakes", "need_matplotlib", "weights"]
