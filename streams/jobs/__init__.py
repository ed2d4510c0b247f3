"""The graphs of the two jobs; each file wires sources, steps and sinks and nothing else."""
