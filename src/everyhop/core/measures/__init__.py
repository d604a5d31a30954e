"""One moment measured: from everything that was read to indicators, to what alerts look at, and to metrics."""
