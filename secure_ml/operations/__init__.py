"""Operations: library functions on an installation that are not stages of the graph.

They find pending work, check the integrity of everything in use, list and check out dataset versions, decide about
quarantined batches, and respond to a drift alarm. Commands, sensors and asset checks call them.
"""
