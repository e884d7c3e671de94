"""Where a number becomes a finding, and why there. All lie far from what healthy networks show: see docs/doctor.md."""

from __future__ import annotations

# Inputs. A weight of an initializer is as large as fits inputs of mean 0 and variance 1 (LeCun, Bottou, Orr & Mueller
# 1998, "Efficient BackProp", 4.3). Ten times that is left to data that nobody has scaled to the last digit.
INPUT_LARGE = 10.0
INPUT_SMALL = 0.01

# Targets of a regression: a network starts near 0 and has to reach them, by steps that fit weights near 1.
TARGET_LARGE = 100.0

# Labels: a class with less than a tenth of the samples it would have if all had the same; 5 % of two classes.
RAREST_CLASS = 0.1
SAMPLES_A_CLASS = 10  # with fewer samples for each class, chance alone makes rare ones

# A unit that is 0 for every sample gets no gradient and cannot come back. Karpathy (CS231n, neural networks 1) speaks
# of 40 % in networks whose learning rate was too large; ten layers of 64 with HeNormal start with up to 30 % in one.
DEAD_UNITS = 0.5

# An output of tanh or sigmoid is saturated where its slope is below this part of the largest: |tanh| above 0.97. With
# more than half of them there, the layer hands on little (Glorot & Bengio 2010, 3.1).
SATURATED_SLOPE = 0.06
SATURATED_OUTPUTS = 0.5

# The gradient by a layer's output against that by the last layer's: they should be alike (Glorot & Bengio 2010, 4.2).
# At 1e-4 the weights of the two would need learning rates that differ by four powers of ten.
GRADIENT_VANISHED = 1e-4
GRADIENT_EXPLODED = 1e3

# The norm of one step against that of the weights: about 1e-3 (Karpathy, CS231n, neural networks 3). Above 1 nothing is
# left of what the weights were; below 1e-7 float32 rounds the step away. The first step of Adam is its largest.
UPDATE_GOOD = 1e-3
UPDATE_LARGE = 1.0
UPDATE_SMALL = 1e-7
UPDATE_SLOW = 1e-4  # below it a rate may be called too small: see RATE_SMALL

# The loss before training against that of a model that knows nothing (Karpathy 2019, "A recipe for training neural
# networks"). Logits of variance s^2 cost s^2 / 2 more than log(classes), and Glorot's weights on features of variance 1
# make s^2 up to 2: 1 more, on the average of seeds. Other losses grow with the square of the outputs, or start near 0.
LOSS_CROSSENTROPY = 2.0
LOSS_MORE = 1.0  # allowed to a cross-entropy besides: log(2) is little
LOSS_OTHER = 10.0

# The range test (Smith 2015, "Cyclical learning rates for training neural networks", 3.3): rates rise exponentially,
# one step each. Suggested is a tenth of the rate with the lowest loss: at that rate itself it begins to diverge.
RANGE_FIRST, RANGE_LAST, RANGE_STEPS = 1e-6, 10.0, 100
RANGE_SMOOTHING = 0.8  # how much of the average of the changes stays at each step
RANGE_IMPROVED = 0.1  # something was learned once the loss fell by this part; and lost once it is back
RANGE_WORSE = 0.5  # where nothing was learned before, it diverges once the loss rose by this part
RANGE_BELOW_BEST = 10.0
RATE_SMALL = 100.0  # so many times below the suggestion a rate is too small, if its steps are small as well

# Overfitting one batch (Karpathy 2019) with Adam at one of these rates. The loss should go to 0; one that keeps half of
# what the best constant answer costs has learned little, and nothing is the reason but the model, the loss or the data.
OVERFIT_SAMPLES = 16
OVERFIT_TARGETS = 64  # of sequences as many as have so many steps together, but 4
OVERFIT_STEPS = 100
OVERFIT_RATES = (1e-3, 1e-2, 1e-1)
OVERFIT_LEFT = 0.5
OVERFIT_FELL = 0.1  # where nobody knows the constant answer: the part by which the loss has to fall
OVERFIT_DONE = 0.05  # there is no need to go on
OVERFIT_NOTHING = 1e-3  # the constant answer is right: there is nothing to learn

SAMPLES = 1024  # looked at, of all that are given
