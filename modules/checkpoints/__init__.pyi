from .encoders import load_encoder_weights as load_encoder_weights
from .encoders import save_encoder as save_encoder
from .files import load_weights as load_weights
from .files import save_folder as save_folder
from .layouts import BERT as BERT
from .layouts import MOSAICBERT as MOSAICBERT
from .layouts import Layout as Layout
from .layouts import layout_of as layout_of
