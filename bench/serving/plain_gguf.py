"""A GGUF file with quantised weights -> the same model in 32-bit floats, so that llama.cpp computes what the others do.

    python -m bench.serving.plain_gguf FROM.gguf TO.gguf

Every tensor is dequantised by gguf's own code and written as float32; all other fields are copied.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf

__all__ = ["main", "rewrite"]

WRITER_S_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture", "general.file_type")


def rewrite(source: Path, target: Path) -> int:
    """Write `source` with float32 weights to `target`; how many tensors it has."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name not in WRITER_S_OWN:
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return len(reader.tensors)


def main() -> None:
    """The command."""
    source, target = map(Path, sys.argv[1:])
    print(f"{rewrite(source, target)} tensors, {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
