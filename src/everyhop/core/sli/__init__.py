"""Service level indicators M1 to M10, objectives and error budgets. One indicator, one small object."""
