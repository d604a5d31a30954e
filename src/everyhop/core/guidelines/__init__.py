"""Guidelines: what a well-configured endpoint accepts, as versioned data. One guideline, one small file."""
