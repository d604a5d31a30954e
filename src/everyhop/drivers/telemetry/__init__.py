"""Telemetry: ways to those who keep numbers and traces of many machines. One protocol, one file.

Rules: loaded only if a topology asks for it. Values of headers are read at each delivery, so that a changed one is in
force at once; they are in no message, error or repr. A collector's certificate is always verified.
"""
