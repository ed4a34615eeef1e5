"""Writes pytorch_model.bin by hand, in the forms that torch.save has, without torch."""

import io
import struct
import zipfile

import numpy as np


class Code:
    """Writes a pickle opcode by opcode, protocol 2."""

    def __init__(self):
        self.out = bytearray(b"\x80\x02")

    def name(self, module, name):
        self.out += b"c" + module.encode() + b"\n" + name.encode() + b"\n"
        return self

    def text(self, text):
        data = text.encode()
        self.out += b"X" + struct.pack("<I", len(data)) + data
        return self

    def number(self, number):
        data = number.to_bytes((number.bit_length() + 8) // 8, "little", signed=True)
        self.out += b"\x8a" + bytes([len(data)]) + data
        return self

    def raw(self, data):
        self.out += data
        return self

    def numbers(self, numbers):
        self.raw(b"(")
        for number in numbers:
            self.number(number)
        return self.raw(b"t")

    def storage(self, key, kind, count, extra=b""):
        self.raw(b"(").text("storage").name("torch", kind).text(key).text("cpu").number(count)
        return self.raw(extra + b"tQ")

    def tensor(self, key, kind, count, shape, strides=None, offset=0, extra=b""):
        if strides is None:
            strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        self.name("torch._utils", "_rebuild_tensor_v2").raw(b"(")
        self.storage(key, kind, count, extra).number(offset).numbers(shape).numbers(strides)
        return self.raw(b"\x89").name("collections", "OrderedDict").raw(b")RtR")

    def done(self):
        return bytes(self.out) + b"."


def table(arrays, extra=b""):
    code = Code().raw(b"}(")
    for key, (name, array) in enumerate(arrays.items()):
        kind = "HalfStorage" if array.dtype == np.float16 else "FloatStorage"
        code.text(name).tensor(str(key), kind, array.size, array.shape, extra=extra)
    return code.raw(b"u").done()


def zipped(pickled, members, compression=zipfile.ZIP_STORED, order=b"little"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("model/data.pkl", pickled)
        if order is not None:
            archive.writestr("model/byteorder", order)
        for name, data in members.items():
            archive.writestr(f"model/data/{name}", data)
    return out.getvalue()


def as_zip(arrays, **options):
    return zipped(
        table(arrays), {str(i): a.tobytes() for i, a in enumerate(arrays.values())}, **options
    )


def as_row(arrays, little=b"\x88"):
    head = Code().number(0x1950A86A20F9469CFC6C).done() + Code().number(1001).done()
    head += Code().raw(b"}").text("little_endian").raw(little + b"s").done()
    keys = Code().raw(b"](")
    for i in range(len(arrays)):
        keys.text(str(i))
    body = b"".join(struct.pack("<Q", a.size) + a.tobytes() for a in arrays.values())
    return head + table(arrays, b"N") + keys.raw(b"e").done() + body
