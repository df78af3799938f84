import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Digest } from "../../lib/cache/remote.ts";
import { RemoteError } from "../../lib/remote/engine.ts";
import {
  packsOf,
  PackSource,
  partsOf,
  readPack,
  slicesIn,
} from "../../lib/remote/pack.ts";
import { digestOf } from "../support/trees.ts";

const MIB = 1 << 20;

/** Digests of such sizes; no content has them. */
function digests(...sizes: number[]): Digest[] {
  return sizes.map((size, index) => ({
    hash: index.toString(16).padStart(64, "0"),
    size,
  }));
}

Deno.test("packsOf() puts small contents together, in order, and large ones alone", () => {
  const contents = digests(10, MIB, 20, MIB - 1, 5 * MIB, 30);
  const { packs, alone } = packsOf(contents);
  assertEquals(alone, [contents[1], contents[4]]);
  assertEquals(packs.length, 1);
  assertEquals(packs[0]!.size, 10 + 20 + MIB - 1 + 30);
  assertEquals(packs[0]!.slices, [
    { digest: contents[0]!, at: 0 },
    { digest: contents[2]!, at: 10 },
    { digest: contents[3]!, at: 30 },
    { digest: contents[5]!, at: 29 + MIB },
  ]);
  assertEquals(packsOf([]), { packs: [], alone: [] });
});

Deno.test("packsOf() ends a pack with what makes it 8 MiB", () => {
  const contents = digests(...Array<number>(20).fill(MIB - 1));
  const { packs } = packsOf(contents);
  assertEquals(packs.map(({ slices }) => slices.length), [9, 9, 2]);
  const exact = packsOf(digests(...Array<number>(32).fill(MIB / 2)));
  assertEquals(exact.packs.map(({ size }) => size), [8 * MIB, 8 * MIB]);
});

Deno.test("packsOf() ends packs where it did before something else was put in front", () => {
  let seed = 1;
  const contents = Array.from({ length: 20_000 }, (_, index) => {
    seed = seed * 48271 % 0x7fffffff; // Park and Miller's
    return {
      hash: digestOf(new Uint8Array([index, index >> 8])).hash,
      size: seed % 10_000,
    };
  });
  const first = { hash: "e".repeat(64), size: 300_000 };
  const names = (contents: readonly Digest[]) =>
    packsOf(contents).packs.map(({ slices, size }, index, all) => {
      const isEnd = index === all.length - 1;
      assert(size < 13 * MIB && (isEnd || size >= 8 * MIB), String(size));
      return slices.map(({ digest }) => digest.hash).join();
    });
  const before = new Set(names(contents));
  const after = names([first, ...contents]);
  assertEquals(before.size, after.length);
  assertEquals(after.filter((it) => !before.has(it)), [after[0]]);
});

Deno.test("partsOf() fetches at most eight parts of a pack, with the smallest gaps in them", () => {
  const far = 70_000;
  const sizes = [1];
  for (const more of [0, 5, 1, 7, 2, 9, 3, 8, 4, 6]) sizes.push(far + more, 1);
  const contents = digests(...sizes);
  const { packs: [pack] } = packsOf(contents);
  const own = { hash: "f".repeat(64), size: pack!.size };
  const parts = partsOf(own, pack!, ({ size }) => size === 1);
  assertEquals(parts.map(({ slices }) => slices.length), [
    ...[2, 2, 2, 1, 1, 1, 1, 1],
  ]);
  for (const { range: { from, to }, slices } of parts) {
    assertEquals(slices[0]!.at, from);
    assertEquals(slices.at(-1)!.at + 1, to);
  }
});

Deno.test("partsOf() fetches what is lacked, with gaps of up to 64 KiB in one", () => {
  const gap = 64 << 10;
  const contents = digests(100, gap, 100, gap + 1, 100, 100, 500_000);
  const { packs: [pack] } = packsOf(contents);
  const own = { hash: "f".repeat(64), size: pack!.size };
  const parts = (lacked: number[]) =>
    partsOf(own, pack!, (it) => lacked.includes(contents.indexOf(it)))
      .map(({ range: { digest, from, to }, slices }) => {
        assertEquals(digest, own);
        return [from, to, slices.length];
      });
  const third = 100 + gap;
  const fifth = third + 100 + gap + 1;
  assertEquals(parts([]), []);
  assertEquals(parts([0, 2]), [[0, third + 100, 2]]);
  assertEquals(parts([2, 4]), [[third, third + 100, 1], [
    fifth,
    fifth + 100,
    1,
  ]]);
  assertEquals(parts([0, 1, 2, 3, 4, 5, 6]), [[0, pack!.size, 7]]);
  assertEquals(parts([6]), [[pack!.size - 500_000, pack!.size, 1]]);
});

Deno.test("slicesIn() gives each content its bytes, and refuses another length", () => {
  const texts = ["first", "second", "third"].map((it) =>
    new TextEncoder().encode(it)
  );
  const contents = texts.map(digestOf);
  const { packs: [pack] } = packsOf(contents);
  const source = {
    read: ({ hash }: Digest) =>
      texts[contents.findIndex((it) => it.hash === hash)]!,
    stream: () => {
      throw new Error("not asked for");
    },
  };
  const bytes = readPack(pack!, source);
  assertEquals(new TextDecoder().decode(bytes), "firstsecondthird");
  const [part] = partsOf(digestOf(bytes), pack!, (it) => it !== contents[0]);
  const { from, to } = part!.range;
  assertEquals([...slicesIn(part!, bytes.subarray(from, to))], [
    [contents[1], texts[1]],
    [contents[2], texts[2]],
  ]);
  for (const wrong of [bytes, bytes.subarray(from, to - 1), new Uint8Array()]) {
    assertThrows(() => [...slicesIn(part!, wrong)], RemoteError);
  }
});

Deno.test("PackSource.stream() gives packs, and all else", async () => {
  const small = Array.from(
    { length: 3 },
    (_, index) => new Uint8Array(MIB - 5).fill(index),
  );
  const { packs: [pack] } = packsOf(small.map(digestOf));
  const source = {
    read: ({ hash }: Digest) =>
      small.find((it) => digestOf(it).hash === hash) ?? new Uint8Array(1),
    stream: async function* () {
      yield await Promise.resolve(new Uint8Array(2));
    },
  };
  const whole = readPack(pack!, source);
  const own = digestOf(whole);
  const packed = new PackSource(new Map([[own.hash, pack!]]), source);
  assertEquals(digestOf(packed.read(own)), own);
  const pieces: number[] = [];
  for await (const piece of packed.stream(own)) {
    assertEquals(
      piece,
      whole.subarray(pieces.length * MIB, pieces.length * MIB + piece.length),
    );
    pieces.push(piece.length);
  }
  assertEquals(pieces, [MIB, MIB, MIB - 15]);
  const [other] = digests(1);
  assertEquals(packed.read(other!).length, 1);
  for await (const piece of packed.stream(other!)) {
    assertEquals(piece.length, 2);
  }
});

Deno.test("readPack() refuses a content that has changed its length", () => {
  const { packs: [pack] } = packsOf(digests(3, 4));
  const source = {
    read: () => new Uint8Array(5),
    stream: () => {
      throw new Error("not asked for");
    },
  };
  assertThrows(() => readPack(pack!, source), Error, "3 bytes has 5");
});
