from degrade.base import Degradation, NumLevels, Params, expand_level, map_params
from degrade.fitting.fit import DegradationFit, FittingOptions, fit_degradation
from degrade.fitting.intervals import FittedValue
from degrade.functional.quantization import quantize_8bit
from degrade.laws import LawError, LawResult, check, measure
from degrade.operators.blur import Blur
from degrade.operators.color import Decolor
from degrade.operators.compose import Compose
from degrade.operators.interpolation import Interpolation
from degrade.operators.jpeg import Jpeg
from degrade.operators.masking import Inpaint, MaskToColor
from degrade.operators.missing_pixels import MissingPixels
from degrade.operators.motion_blur import MotionBlur
from degrade.operators.noise import AffinePath, GaussianNoise
from degrade.operators.pixelate import Pixelate
from degrade.operators.snow import Snow
from degrade.probe import ProbeResult, linear_probe
from degrade.random import Generators, Source
from degrade.registry import from_dict, get, make, names, register
from degrade.serializable import runtime_field

__all__ = [
    "AffinePath",
    "Blur",
    "Compose",
    "Decolor",
    "Degradation",
    "DegradationFit",
    "FittedValue",
    "FittingOptions",
    "GaussianNoise",
    "Generators",
    "Inpaint",
    "Interpolation",
    "Jpeg",
    "LawError",
    "LawResult",
    "MaskToColor",
    "MissingPixels",
    "MotionBlur",
    "NumLevels",
    "Params",
    "Pixelate",
    "ProbeResult",
    "Snow",
    "Source",
    "check",
    "expand_level",
    "fit_degradation",
    "from_dict",
    "get",
    "linear_probe",
    "make",
    "map_params",
    "measure",
    "names",
    "quantize_8bit",
    "register",
    "runtime_field",
]
