"""Ollama's Modelfile: what makes a model out of a base, its parameters and its template.

Pure: text in, values out. Must not know files, stores, HTTP or who creates a model.
"""

from transom_models.modelfile.modelfile import (
    Modelfile,
    ModelfileError,
    decode_modelfile,
    parse_modelfile,
    write_modelfile,
)
from transom_models.modelfile.parameters import (
    PARAMETERS,
    InvalidParameter,
    Parameters,
    ParameterValue,
    check_parameters,
    params_json,
    read_params,
    unknown_params,
)

__all__ = [
    "PARAMETERS",
    "InvalidParameter",
    "Modelfile",
    "ModelfileError",
    "ParameterValue",
    "Parameters",
    "check_parameters",
    "decode_modelfile",
    "params_json",
    "parse_modelfile",
    "read_params",
    "unknown_params",
    "write_modelfile",
]
