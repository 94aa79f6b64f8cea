"""Writes the fixtures of package data with numpy and PIL, the writers that users have.

    python3 -m venv .deps/venv && .deps/venv/bin/pip install numpy pillow
    .deps/venv/bin/python data/testdata/make.py

Recorded with numpy 2.x and Pillow 12.x; the files do not depend on the time or on random numbers without a seed.
"""
import gzip, io, os, struct
import numpy as np
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
os.chdir(here)


def folder(name):
    os.makedirs(name, exist_ok=True)
    return name


# npy: every type, both byte orders, Fortran order. The values are those of TestNpyTypes.
folder("npy")
values = np.array([[0, 1, 2], [3, 100, 127]])
for t in ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "|i1", "|u1", "<i2", ">i2", "<u2", ">u2",
          "<i4", ">i4", "<u4", ">u4", "<i8", ">i8", "<u8", ">u8"]:
    name = t.replace("<", "le_").replace(">", "be_").replace("|", "")
    np.save(f"npy/{name}.npy", values.astype(t))
np.save("npy/bool.npy", np.array([[True, False, True], [False, False, True]]))
np.save("npy/fortran.npy", np.asfortranarray(np.arange(24, dtype=np.float32).reshape(4, 3, 2)))
np.save("npy/half.npy", np.array([0, -0.0, 1, -2.5, 65504, 2**-24, 2**-14, 6.1e-5, np.inf, -np.inf, np.nan], np.float16))
np.save("npy/half_as_float.npy", np.load("npy/half.npy").astype(np.float32))
np.save("npy/big.npy", np.array([1, 2**31], np.int64))
np.save("npy/complex.npy", np.array([1j]))
np.save("npy/text.npy", np.array(["a", "b"]))
np.save("npy/scalar.npy", np.float32(1))
with open("npy/version2.npy", "wb") as f:
    np.lib.format.write_array(f, values.astype("<f4"), version=(2, 0))

# npz: the names of Open's documentation.
folder("npz")
x, y = np.arange(24, dtype=np.float32).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2])
np.savez("npz/whole.npz", x=x, y=y)
np.savez_compressed("npz/divided.npz", x_train=x, y_train=y, x_test=x[:2] + 100, y_test=y[:2])
np.savez_compressed("npz/named.npz", **{
    "x_train:image": np.arange(60, dtype=np.uint8).reshape(5, 3, 4), "x_train:pose": np.ones((5, 2)), "y_train:gaze": np.zeros((5, 2), np.float32),
    "y_test:gaze": np.zeros((2, 2), np.float32), "x_test:pose": np.ones((2, 2)) * 2, "x_test:image": np.zeros((2, 3, 4), np.uint8)})

# npy files in a folder.
folder("npyfolder")
np.save("npyfolder/x.npy", x)
np.save("npyfolder/y.npy", y)

# images: what PIL reads from the files is stored next to them as expect_NAME.npy.
rng = np.random.default_rng(0)


def smooth(h, w, c):  # low frequencies only, so that JPEG with 4:4:4 chroma comes close to the original
    a = np.array(Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((w, h), Image.BILINEAR))
    return a[:, :, 0] if c == 1 else a


folder("expect")
for part in ["train", "test"]:
    for k, cls in enumerate(["cat", "dog", "newt"]):
        d = folder(f"images/{part}/{cls}")
        for i in range(2):
            im = Image.fromarray(smooth(6, 9, 3))
            name = f"{d}/{i}.png"
            im.save(name)
            np.save(f"expect/{part}_{cls}_{i}.npy", np.array(Image.open(name).convert("RGB")))
d = folder("kinds/a")
rgb = smooth(6, 9, 3)
for name, im in {
    "alpha.png": Image.fromarray(np.dstack([rgb, np.full((6, 9), 77, np.uint8)])),
    "gray.png": Image.fromarray(smooth(6, 9, 1)),
    "palette.png": Image.fromarray(rgb).quantize(16),
    "bilevel.png": Image.fromarray(smooth(6, 9, 1)).convert("1"),
}.items():
    im.save(f"{d}/{name}")
    np.save(f"expect/kinds_{name}.npy", np.array(Image.open(f"{d}/{name}").convert("RGB")))
for name, sub in {"full.jpg": 0, "half.jpg": 2}.items():
    Image.fromarray(rgb).save(f"{d}/{name}", quality=90, subsampling=sub)
    np.save(f"expect/kinds_{name}.npy", np.array(Image.open(f"{d}/{name}").convert("RGB")))
d = folder("odd/a")  # odd in both directions: the edges of subsampled chroma
for name, sub in {"420.jpg": 2, "422.jpg": 1}.items():
    Image.fromarray(smooth(7, 11, 3)).save(f"{d}/{name}", quality=90, subsampling=sub)
    np.save(f"expect/odd_{name}.npy", np.array(Image.open(f"{d}/{name}").convert("RGB")))
folder("gray/a"), folder("gray/b")
Image.fromarray(smooth(5, 5, 1)).save("gray/a/1.png")
Image.fromarray(smooth(5, 5, 1)).save("gray/b/1.png")
