"""Evidence: signed heads over observations, what follows from them for an auditor, and the pack that carries both.

``note`` is the text that is signed, ``signer`` who may sign it; ``audit`` holds stored observations against their
seals; ``claims`` derives what a pack says, ``checklist`` answers an auditor's questions, ``pack`` carries both, and
``verify`` believes none of it.
"""
