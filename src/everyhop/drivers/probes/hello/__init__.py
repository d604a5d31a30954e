"""Raw ClientHellos: asking a server what it would choose, without any key and without finishing a handshake.

Rules: ``encode`` makes the bytes of a question, ``answer`` reads the bytes of its answer, both without I/O; ``ask``
puts one question over one connection. Nothing that a server does raises an exception, and its bytes are bounded.
"""
