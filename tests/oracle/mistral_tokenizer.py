"""Prints the path of Mistral v3's tokenizer.model in mistral-common."""
import glob
import importlib.util
import os

folder = importlib.util.find_spec("mistral_common").submodule_search_locations[0]
print(glob.glob(os.path.join(folder, "data", "*240323.model.v3"))[0])
