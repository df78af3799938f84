import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  compress,
  compressStream,
  decompress,
  decompressStream,
} from "../../lib/remote/zstd.ts";
import { RemoteError } from "../../lib/remote/engine.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const text = new TextEncoder().encode("Rebuild what is not there. ".repeat(99));
/** A skippable frame with three bytes in it, as servers put one in front. */
const SKIPPABLE = bytes(0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
/** By hand: a window, no size, no checksum; one block of raw bytes, which is the last. */
const RAW = bytes(0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x19, 0, 0, 65, 66, 67);
/** By hand: one segment of four bytes; a block that is one byte four times. */
const RUN = bytes(0x28, 0xb5, 0x2f, 0xfd, 0x20, 4, 0x23, 0, 0, 68);
/** By hand: nothing. */
const EMPTY = bytes(0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0);

Deno.test("decompress() reads frames that were made by hand", () => {
  assertEquals(decoded(decompress(RAW, 3)), "ABC");
  assertEquals(decoded(decompress(RUN, 4)), "DDDD");
  assertEquals(decompress(EMPTY, 0).length, 0);
  assertEquals(decompress(bytes(), 0).length, 0);
});

Deno.test("decompress() reads all frames, and passes over skippable ones", () => {
  const all = joined(SKIPPABLE, RAW, RUN, SKIPPABLE, EMPTY, RAW, SKIPPABLE);
  assertEquals(decoded(decompress(all, 10)), "ABCDDDDABC");
  assertEquals(decompress(SKIPPABLE, 0).length, 0);
});

Deno.test("decompressStream() reads frames wherever they are cut into pieces", async () => {
  const all = joined(SKIPPABLE, RAW, compress(text), EMPTY, RUN, SKIPPABLE);
  const wanted = joined(bytes(65, 66, 67), text, bytes(68, 68, 68, 68));
  for (const step of [1, 2, 3, 5, 7, 11, 64, all.length]) {
    const made = decompressStream(inPieces(all, step), wanted.length);
    assertEquals(joined(...await Array.fromAsync(made)), wanted);
  }
});

Deno.test("compressStream() makes what decompressStream() and decompress() read", async () => {
  const pieces = inPieces(text, 100);
  const frames = joined(...await Array.fromAsync(compressStream(pieces)));
  assertEquals(decompress(frames, text.length), text);
  const again = decompressStream(inPieces(frames, 33), text.length);
  assertEquals(joined(...await Array.fromAsync(again)), text);
});

Deno.test("decompress() and its stream refuse input that is cut short, wherever", async () => {
  const frame = compress(text);
  for (const all of [frame, joined(SKIPPABLE, RAW), joined(RAW, SKIPPABLE)]) {
    const size = all === frame ? text.length : 3;
    for (let length = 1; length < all.length; length++) {
      const isWhole = all !== frame && length === RAW.length &&
        all[4] === RAW[4];
      if (isWhole) continue;
      const cut = all.subarray(0, length);
      assertThrows(() => decompress(cut, size), RemoteError);
      await assertRejects(() => drained(inPieces(cut, 9), size), RemoteError);
    }
  }
});

Deno.test("decompress() and its stream refuse what is no zstd, or damaged", async () => {
  const damaged = compress(text);
  damaged.fill(0xff, 12, 20);
  for (const wrong of [bytes(1, 2, 3, 4, 5), text, damaged]) {
    const error = assertThrows(() => decompress(wrong, 99), RemoteError);
    assertEquals(error.kind, "wrong");
    await assertRejects(() => drained(inPieces(wrong, 50), 99), RemoteError);
  }
});

Deno.test("decompress() and its stream end a bomb early", async () => {
  const zeros = compress(new Uint8Array(64 << 20));
  assert(zeros.length < 10_000);
  const error = assertThrows(() => decompress(zeros, 1000), RemoteError);
  assertEquals(error.message, "Content is longer than its digest says");
  let came = 0;
  await assertRejects(
    async () => {
      const made = decompressStream(inPieces(zeros, zeros.length), 1_000_000);
      for await (const piece of made) came += piece.length;
    },
    RemoteError,
    "longer",
  );
  assert(came <= 1_000_000);
});

Deno.test("decompress() and its stream refuse what is shorter than it should be", async () => {
  assertThrows(() => decompress(RAW, 4), RemoteError, "shorter");
  await assertRejects(() => drained(inPieces(RAW, 4), 4), RemoteError);
});

Deno.test("decompressStream() passes on what its input throws", async () => {
  const failing = async function* () {
    yield compress(text).subarray(0, 30);
    await Promise.resolve();
    throw new RangeError("out of order");
  };
  await assertRejects(() => drained(failing(), text.length), RangeError);
});

Deno.test("decompressStream() can be left early", async () => {
  const content = crypto.getRandomValues(new Uint8Array(60_000));
  const all = joined(compress(content), compress(content));
  for await (const piece of decompressStream(inPieces(all, 5000), 120_000)) {
    assert(piece.length > 0);
    break;
  }
});

test(
  "decompress() reads what zstd makes, in each of its forms",
  ["zstd"],
  async () => {
    await using dir = TempDir.make();
    const random = crypto.getRandomValues(new Uint8Array(50_000));
    const content = joined(random, new Uint8Array(400_000), text, random);
    Deno.writeFileSync(dir.at("content"), content);
    const forms = [[], ["--check"], ["--no-check"], ["-19"], [
      "--ultra",
      "-22",
    ]];
    for (const form of [...forms, ["--no-content-size"], ["-T2", "-B1MiB"]]) {
      const { code, stdout } = await new Deno.Command("zstd", {
        args: ["-q", "-c", ...form, dir.at("content")],
        stderr: "null",
      }).output();
      assertEquals(code, 0, form.join(" "));
      assertEquals(decompress(stdout, content.length), content);
      const made = decompressStream(inPieces(stdout, 999), content.length);
      assertEquals(joined(...await Array.fromAsync(made)), content);
    }
  },
);

async function drained(
  compressed: AsyncIterable<Uint8Array>,
  size: number,
): Promise<void> {
  for await (const _ of decompressStream(compressed, size));
}

async function* inPieces(
  all: Uint8Array,
  step: number,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < all.length; at += step) {
    await Promise.resolve();
    yield all.subarray(at, at + step);
  }
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function bytes(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values);
}

function decoded(content: Uint8Array): string {
  return new TextDecoder().decode(content);
}
