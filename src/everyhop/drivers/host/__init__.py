"""This machine: its clock, its randomness, its free addresses, and the lock that keeps a second everyhop out."""
