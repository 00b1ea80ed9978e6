"""What a simulation fails with; stands alone, so that whoever only reports it need not load the simulators."""


class SimulationError(RuntimeError):
    """The simulation did not end well: a broken stream law, a hang, surplus beats, or a dead simulator."""
