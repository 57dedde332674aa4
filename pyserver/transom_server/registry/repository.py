"""A repository of the registry: the model's name without its tag. Pure."""

from transom_models.name import InvalidName, ModelName


def parse_repository(text: str) -> ModelName:
    """Read `[host/][namespace/]model`. What the name's tag is means nothing. Raises `InvalidName`.

    A host may have a port; behind the last slash a colon would be a tag, which has its own place
    in the address.
    """
    if "@" in text or ":" in text.rpartition("/")[2]:
        raise InvalidName(f"{text!r:.160} is not a repository; write [host/][namespace/]model")
    return ModelName.parse(text)


def tagged(repository: ModelName, tag: str) -> ModelName:
    """A tag of the repository. Raises `InvalidName`."""
    return ModelName(repository.host, repository.namespace, repository.model, tag)


def same_repository(name: ModelName, repository: ModelName) -> bool:
    """Whether a stored name is one of the repository's tags, whatever their case."""
    return name.folded[:3] == repository.folded[:3]
