"""Notifiers: how people and their tools are told. One kind of receiver, one file.

Rules: secrets are read from files or systemd credentials at each delivery, so that a changed one is in force at once;
they are in no message, error or repr. A receiver's certificate is always verified.
"""
