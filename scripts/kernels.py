#!/usr/bin/env python3
"""Compiles cuda/kernels/*.cu for NVIDIA's GPUs, ahead of time, and writes what package cuda/kernels embeds.

usage: scripts/kernels.py [--check]      (scripts/deps.sh nvrtc fetches the compiler, make kernels does both)

Every kernel file becomes PTX for compute capability 7.5, which newer devices' drivers compile when they load it, and machine code
for the capabilities of CUBINS: cuda/kernels/images/FILE.TARGET.xz. cuda/kernels/manifest.json says which sources, options and compiler they
come from and, for every kernel, its parameters, registers, and what spills. The same sources give the same bytes. What was compiled before is
kept in .deps/kernels; --check compiles everything anew and compares instead of writing. The kernels of the driver's tests become
cuda/driver/testdata/probe.ptx.

NVRTC makes the PTX and ptxas, of the same CUDA version, the machine code. 12.0 is the oldest with everything that is needed; PTX of a newer
compiler would ask for a newer driver.
"""

import argparse
import concurrent.futures
import ctypes
import hashlib
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "cuda" / "kernels"
COMPILER = ROOT / ".deps" / "nvrtc"
PROBE = ROOT / "cuda" / "driver" / "testdata" / "probe.cu"
CACHE = ROOT / ".deps" / "kernels"
PTX = 75  # the least compute capability
CUBINS = (80, 90)
TARGETS = sorted({PTX, *CUBINS})  # compute capabilities whose registers are noted
# The arithmetic is kernels/common.cuh's: nothing is fused or approximated that the source does not ask for.
OPTIONS = ["--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true",
           "--diag-suppress=128"]  # a loop of no turns, in templates


class NVRTC:
    """The few calls of the compiler's library that are needed."""

    def __init__(self, folder):
        libraries = folder / "nvidia" / "cuda_nvrtc" / "lib"
        # The builtins are looked up by name; loading them first makes them found.
        ctypes.CDLL(str(next(libraries.glob("libnvrtc-builtins.so.*"))), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(libraries / "libnvrtc.so.12"))
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *args):
        code = getattr(self.lib, name)(*args)
        if code != 0:
            raise RuntimeError(f"{name}: {self.lib.nvrtcGetErrorString(code).decode()}")

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def text(self, size, get, program):
        n = ctypes.c_size_t()
        self.call(size, program, ctypes.byref(n))
        buffer = ctypes.create_string_buffer(n.value)
        self.call(get, program, buffer)
        return buffer.raw[:n.value]

    def ptx(self, name, source, headers, options):
        program = ctypes.c_void_p()
        count = len(headers)
        texts = (ctypes.c_char_p * count)(*(text for _, text in headers))
        names = (ctypes.c_char_p * count)(*(name.encode() for name, _ in headers))
        self.call("nvrtcCreateProgram", ctypes.byref(program), source, name.encode(), count, texts, names)
        try:
            flags = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
            code = self.lib.nvrtcCompileProgram(program, len(options), flags)
            log = self.text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog", program).rstrip(b"\0").decode().strip()
            if log:
                print(log, file=sys.stderr)
            if code != 0:
                raise RuntimeError(f"{name} does not compile: {self.lib.nvrtcGetErrorString(code).decode()}")
            return self.text("nvrtcGetPTXSize", "nvrtcGetPTX", program).rstrip(b"\0")
        finally:
            self.call("nvrtcDestroyProgram", ctypes.byref(program))


def ptxas(ptx, capability):
    """Machine code of PTX, and {kernel: registers, spills…} as ptxas -v tells."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder) / "kernel.ptx", pathlib.Path(folder) / "kernel.cubin"
        source.write_bytes(ptx)
        tool = COMPILER / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"
        run = subprocess.run([tool, "-v", f"-arch=sm_{capability}", "--fmad=false", source.name, "-o", out.name], cwd=folder, capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"ptxas: {run.stderr}")
        return out.read_bytes(), usage(run.stderr)


def usage(log):
    """What ptxas -v says of every kernel."""
    found, kernel = {}, None
    for line in log.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = found.setdefault(m[1], {})
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            kernel.update(stack=int(m[1]), spills=int(m[2]) + int(m[3]))
        elif m := re.search(r"Used (\d+) registers", line):
            kernel["registers"] = int(m[1])
            shared = re.search(r"(\d+) bytes smem", line)
            kernel["shared"] = int(shared[1]) if shared else 0
    return found


SIZES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}


def entries(ptx):
    """{kernel: sizes of its parameters in bytes, threads of a block at most} of PTX."""
    found = {}
    for m in re.finditer(r"\.entry\s+(\w+)\s*\(([^)]*)\)\s*(\.maxntid\s+(\d+), 1, 1)?", ptx.decode()):
        params = []
        for p in m[2].split(","):
            if not p.strip():
                continue
            part = re.search(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+.*?\s)?\w+(?:\[(\d+)\])?\s*$", p.strip())
            params.append(SIZES[part[1]] * int(part[2] or 1))
        found[m[1]] = {"params": params, "threads": int(m[4] or 0)}
    return found


def compile_one(job):
    """PTX, machine code and usage of one kernel file for one compute capability."""
    name, text, headers, capability, cached = job
    key = hashlib.sha256(repr((job[:4], OPTIONS, (COMPILER / "VERSION").read_text(), pathlib.Path(__file__).read_bytes())).encode()).hexdigest()[:24]
    path = CACHE / key
    if cached and path.exists():
        stored = json.loads(lzma.decompress(path.read_bytes()))
        return stored["ptx"].encode(), bytes.fromhex(stored["cubin"]), stored["usage"]
    ptx = NVRTC(COMPILER).ptx(name, text, headers, [f"--gpu-architecture=compute_{capability}", *OPTIONS])
    cubin, used = ptxas(ptx, capability)
    CACHE.mkdir(exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(lzma.compress(json.dumps({"ptx": ptx.decode(), "cubin": cubin.hex(), "usage": used}).encode(), preset=1))
    part.rename(path)
    return ptx, cubin, used


def build(cached):
    """{image: bytes}, {kernel: what the manifest says of it}, the manifest, and the PTX of the probe."""
    headers = [(p.name, p.read_bytes()) for p in sorted(SOURCES.glob("*.cuh"))]
    sources = [(p.name, p.read_bytes()) for p in sorted(SOURCES.glob("*.cu"))]
    digest = hashlib.sha256()
    for name, text in sources + headers:
        digest.update(f"{name} {len(text)}\n".encode() + text)

    jobs = [(name, text, headers, capability, cached) for name, text in sources for capability in TARGETS]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        results = dict(zip(((j[0], j[3]) for j in jobs), pool.map(compile_one, jobs)))

    images, kernels = {}, {}
    for name, _ in sources:
        module = name.removesuffix(".cu")
        for capability in TARGETS:
            ptx, cubin, used = results[name, capability]
            if capability == PTX:
                images[f"{module}.ptx"] = ptx
                for kernel, entry in entries(ptx).items():
                    if kernel in kernels:
                        raise RuntimeError(f"{name}: kernel {kernel} is in {kernels[kernel]['module']}.cu too")
                    kernels[kernel] = {"module": module, **entry}
            if capability in CUBINS:
                images[f"{module}.sm_{capability}"] = cubin
            for kernel, u in used.items():
                kernels[kernel][f"sm_{capability}"] = u
    head = {"compiler": f"NVRTC {NVRTC(COMPILER).version()}", "options": OPTIONS, "sources": digest.hexdigest()}
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()]
    for title, table in (("images", {k: hashlib.sha256(v).hexdigest() for k, v in images.items()}), ("kernels", kernels)):
        rows = ",\n".join(f"    {json.dumps(k)}: {json.dumps(table[k])}" for k in sorted(table))
        lines.append(f'  "{title}": {{\n{rows}\n  }}')
    own = [h for h in headers if h[0] == "common.cuh"]
    probe, _, _ = compile_one((PROBE.name, PROBE.read_bytes(), own, PTX, cached))
    probe = b"// of sources with SHA-256 " + hashlib.sha256(PROBE.read_bytes() + own[0][1]).hexdigest().encode() + b"\n" + probe
    return images, kernels, ("{\n" + ",\n".join(lines) + "\n}\n").encode(), probe


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compile everything anew and compare instead of writing")
    check = parser.parse_args().check
    if not COMPILER.is_dir():
        sys.exit("kernels: the compiler is not there; scripts/deps.sh nvrtc fetches it")
    try:
        images, kernels, manifest, probe = build(cached=not check)
    except RuntimeError as e:
        sys.exit(f"kernels: error: {e}")

    folder = SOURCES / "images"
    there = {p.name.removesuffix(".xz"): lzma.decompress(p.read_bytes()) for p in folder.glob("*.xz")}
    if check:
        wrong = sorted(n for n in there.keys() | images.keys() if there.get(n) != images.get(n))
        if not wrong and (SOURCES / "manifest.json").read_bytes() != manifest:
            wrong = ["manifest.json"]
        if PROBE.with_suffix(".ptx").read_bytes() != probe:
            wrong.append("probe.ptx")
        if wrong:
            sys.exit(f"kernels: error: not what the sources give: {', '.join(wrong)}; make kernels writes them anew")
    else:
        folder.mkdir(exist_ok=True)
        for name in there.keys() - images.keys():
            (folder / f"{name}.xz").unlink()
        for name, image in images.items():
            if there.get(name) != image:
                (folder / f"{name}.xz").write_bytes(lzma.compress(image, preset=9 | lzma.PRESET_EXTREME))
        (SOURCES / "manifest.json").write_bytes(manifest)
        PROBE.with_suffix(".ptx").write_bytes(probe)
    for name, k in sorted(kernels.items()):
        for capability in TARGETS:
            if spills := k[f"sm_{capability}"]["spills"]:
                print(f"kernels: note: {name} spills {spills} bytes on sm_{capability}")
    most = max(k[f"sm_{c}"]["registers"] for k in kernels.values() for c in TARGETS)
    size = sum(p.stat().st_size for p in folder.glob("*.xz"))
    print(f"kernels: {len(kernels)} kernels, at most {most} registers, images of {size} bytes")


if __name__ == "__main__":
    main()
