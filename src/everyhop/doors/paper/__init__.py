"""Paper: the evidence pack as a page that can be printed. One file, no script, nothing from elsewhere."""
