"""What a step raises when it must not go on. One line, for the one who has to mend it."""


class StepError(RuntimeError):
    """A step cannot do its work; trying again may help."""

    exit_code = 1


class GateError(StepError):
    """What was made is not good enough to go on with; trying again with the same input will not help."""

    exit_code = 3
