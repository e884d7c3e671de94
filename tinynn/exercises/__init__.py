"""Exercises: the library's own layers with their backward passes blanked out, or with one line of them made wrong.

`catalogue`   which there are, in order
`blank`       a class's source without the body of backward; with one line rewritten
`files`       the student's file: what is written, and what must not be changed in it
`coach`       check a student's file: what is right, what is not
`steps`       optimizers: compared with an independent formula, step by step
`speak`       the result in words; `advice` what to try next
`hints`       one step at a time
`ways`        which forward lines a gradient comes back through
`make`        an exercise from a teacher's own layer
`command`     ``tinynn exercise ...``

A student's file is code that the student runs on his own machine. Nothing else is run, and nothing is fetched.
"""
