"""What a student can do about a diagnosis of the line checker."""

from __future__ import annotations

ADVICE = {
    "step": "Take the formula above the method term by term. Two steps by hand, with dw = 1, show the rest.",
    "not written": "A gradient must get to its array: self.dW = ..., self.dW[...] = ..., or out=self.dW.",
    "shape": "Write the shape of every factor under the line. A gradient has the shape of what it is the gradient by.",
    "missing sum": "What forward stretches over an axis (broadcasting), backward sums over it.",
    "wrong axis": "Which axis did forward sum or stretch over? Backward must use the same one.",
    "wrong order": "The numbers are right and stand in the wrong places: undo the reshaping step by step, backwards.",
    "one sample": "All samples count: the gradient of what they share is the sum over every one of them.",
    "transposed": "Of a product x W: dx = dy W^T and dW = x^T dy. Only one order gives the right shape; write it down.",
    "factor N": "Look for a mean in forward: each of its N terms gets 1/N of the gradient. Or is it added up twice?",
    "factor 1/N": "Look for a sum in forward: each of its terms gets the whole gradient. Only the loss divides.",
    "factor": "Differentiate the forward line by itself, constants included: the square's 2, the root's 1/2.",
    "sign": "Is what you differentiate subtracted, or below a fraction line? Then a minus comes with it.",
    "wrong step": "Follow the index by hand for two steps: which step's value made this one?",
    "softmax diagonal": "Every y_i depends on every x_j, for they share the sum: do the terms off the diagonal too.",
    "missing term": "Count the forward lines that use it: each is a way back, and the gradient is the sum of all ways.",
    "doubled term": "One way back is taken twice: was it added already, in this line or before?",
    "missing mask": "Where forward lets nothing through, nothing comes back: multiply by the mask.",
    "wrong side": "Try one positive and one negative number by hand: which of them passes?",
    "missing factor": "Differentiate the forward line once more, slowly: by the chain rule every factor stays.",
    "factor too much": "One factor is not in the derivative of this line. Did the line before take care of it?",
    "stale value": "The value was changed between forward and this line: use the one that forward used.",
    "wrong variable": "The formula is right and one name in it is not: input or output? before or after it?",
    "wrong derivative": "Write the derivative of the forward line on paper, by its input; then put in what you have.",
}
PLAIN = "Compare with the forward line it undoes, factor by factor; then write the shapes under the line."


def advice(kind: str) -> str:
    """Return what to try next.

    Examples
    --------
    >>> advice("sign")
    'Is what you differentiate subtracted, or below a fraction line? Then a minus comes with it.'
    """
    return ADVICE.get(kind, PLAIN)
