"""Files held against the classic mistakes of transport security, before they run.

Rules: pure: text in, findings out. One file per kind of file; what several kinds share (cipher lists, addresses,
commands, reasons) has its own. A parser answers with a parsed file or says why not, in time linear in the text. What
other tools find is imported (:mod:`everyhop.core.lint.imported`) and not written again.
"""
