"""What the API refused, in its own words."""


class TransomError(Exception):
    """`status` is HTTP's; 0 where the answer broke off or nobody answered."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
