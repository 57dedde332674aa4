"""The `instructor` client: pydantic models out of an `openai` client, by every road it knows."""

import findings
import instructor
from findings import ADDRESS, SECONDS, Town
from openai import OpenAI

client = OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", timeout=SECONDS, max_retries=0)
messages = [{"role": "user", "content": findings.TOWN_QUESTION}]


def town(mode: instructor.Mode) -> dict[str, object]:
    patched = instructor.from_openai(client, mode=mode)
    return patched.create(
        model="smollm2", messages=messages, response_model=Town, max_retries=0
    ).model_dump()


patched = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
partial = list(patched.create_partial(model="smollm2", messages=messages, response_model=Town))
found, completion = patched.create_with_completion(
    model="smollm2", messages=messages, response_model=Town
)

findings.report(
    "instructor",
    town=town(instructor.Mode.JSON_SCHEMA),
    response_town=town(instructor.Mode.TOOLS),
    strict_town=town(instructor.Mode.TOOLS_STRICT),
    partial_town=partial[-1].model_dump(),
    partials=len(partial),
    finish=completion.choices[0].finish_reason,
    missing=findings.refused(
        lambda: patched.create(
            model="nobody", messages=messages, response_model=Town, max_retries=0
        )
    ),
)
assert found.model_dump() == partial[-1].model_dump()
