"""Fields that all of Ollama's requests to a model share: its name, its options, how long it stays
loaded. Pure."""

from transom_api.fields import Fields
from transom_api.ollama.generation import InvalidRequest, read_keep_alive
from transom_models.modelfile import InvalidParameter, ParameterValue
from transom_models.modelfile.parameters import PARAMETERS, check_value


def model_of(body: Fields) -> str:
    """Older clients say `name`."""
    return body.required_text("model" if "model" in body or "name" not in body else "name")


def options_of(body: Fields) -> dict[str, ParameterValue]:
    """Options by name; those that nobody knows are passed over, as Ollama does."""
    inner = body.object("options")
    found: dict[str, ParameterValue] = {}
    if inner is not None:
        for name in inner.names():
            if name in PARAMETERS:
                try:
                    found[name] = check_value(name, inner.raw(name))
                except InvalidParameter as error:
                    inner.refuse(name, str(error).removeprefix(f"{name} "))
    return found


def keep_seconds_of(body: Fields) -> float | None:
    """How long the model stays loaded, in seconds; None when the request does not say."""
    value = body.raw("keep_alive")
    if value is None:
        return None
    try:
        return read_keep_alive(value)
    except InvalidRequest as error:
        body.refuse("keep_alive", str(error).removeprefix("keep_alive: "))
