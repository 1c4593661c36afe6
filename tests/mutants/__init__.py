"""Mutation testing: small faults, put into the code one at a time, that its tests must notice."""
