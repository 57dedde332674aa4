"""Ollama's Modelfile: what makes a model out of a base, its parameters and its template.

Pure: text in, values out. Must not know files, stores, HTTP or who creates a model.
"""

from transom_models.modelfile.go_template import UntranslatableTemplate
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
from transom_models.modelfile.template import AmbiguousTemplate, jinja_template

__all__ = [
    "PARAMETERS",
    "AmbiguousTemplate",
    "InvalidParameter",
    "Modelfile",
    "ModelfileError",
    "ParameterValue",
    "Parameters",
    "UntranslatableTemplate",
    "check_parameters",
    "decode_modelfile",
    "jinja_template",
    "params_json",
    "parse_modelfile",
    "read_params",
    "unknown_params",
    "write_modelfile",
]
