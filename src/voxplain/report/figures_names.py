"""What the pictures of a study are called: by case, layer, class, modality and method, as the sources name theirs."""

from voxplain.errors import InputError
from voxplain.study.plan import file_name as plain


def file_name(case: str, layer: str = "", class_name: str = "", modality: str = "", method: str = "") -> str:
    """`<case>_<layer>_<class>[_<modality>]_<method>.png`, each part of letters, digits, '.', '_' and '-'.

    The sources' pattern: the layer stays empty (two underscores) where none was chosen, the class is 'all' for the
    whole tumour, and the modality is left out where it does not matter. Parts that lose letters get eight digits of a
    hash, so that different names stay apart. Raises InputError without a case or a method.
    """
    for name, value in (("case", case), ("method", method)):
        if not value:
            raise InputError(f"{name} must be named in a picture's file name, got nothing")
    always = [plain(part) if part else "" for part in (case, layer, class_name)]
    return "_".join([*always, *([plain(modality)] if modality else []), plain(method)]) + ".png"
