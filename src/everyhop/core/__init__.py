"""What is true: facts in, decision out.

Nothing here opens a socket or a file, reads a clock or draws a random number: those are arguments. That makes every
decision of everyhop repeatable, testable and readable without running it.
"""
