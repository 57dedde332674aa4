"""The terms of a model on its way: shown, and refused unless they are open or accepted.

Knows neither registries nor files.
"""

from collections.abc import Iterable

from transom_models.errors import TransomError
from transom_models.licence import Licence
from transom_server.transfer.status import Report, Status, TransferOptions


class LicenseNotAccepted(TransomError):
    """The model's terms are not open, and nobody said yes to them."""


def check_terms(
    licences: Iterable[Licence], options: TransferOptions, report: Report, again: str = ""
) -> None:
    """Show what a model states, each licence on a line. Raises `LicenseNotAccepted`.

    `again`: what to pull, where that is not the same as before.
    """
    for licence in licences:
        report(Status(f"license: {licence}"))
        if licence.open is False and not options.accept_license:
            way = f": transom pull '{again}'" if again else " with"
            raise LicenseNotAccepted(
                f"the license is {licence}: {licence.reason}; read its terms, and if you accept "
                f"them say so{way} --accept-license (a server: TRANSOM_ACCEPT_LICENSE=yes)"
            )
