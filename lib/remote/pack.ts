/**
 * Packs: small contents one after another, for servers that take one request for each
 * object. Which lie in which pack, and where, follows from the tree alone, so that a pack
 * needs no index.
 *
 * @module
 */

import type { RemoteSource } from "../cache/remote.ts";
import { type Digest, type Range, RemoteError } from "./engine.ts";

/** A content of so many bytes, or more, lies alone. */
const BIG = 1 << 20;

/** Bytes of a pack, but for the last one: at least, and at most before its last content. */
const PACK = 8 << 20;
const LONGEST = 12 << 20;

/** A pack that is long enough goes on for so many bytes, on average. */
const MORE = 1 << 20;

/** What lies between contents that are wanted is fetched with them, up to so many bytes. */
const GAP = 64 << 10;

/** So many parts of a pack are fetched, at most. */
const MOST_PARTS = 8;

/** Where a content lies in a pack. */
export interface Slice {
  readonly digest: Digest;
  readonly at: number;
}

/** Contents one after another. */
export interface Pack {
  readonly slices: readonly Slice[];
  /** Bytes. */
  readonly size: number;
}

/** A part of a pack, with what is wanted of it. */
export interface Part {
  readonly range: Range;
  readonly slices: readonly Slice[];
}

/** Which contents of a tree lie together, and which alone. */
export function packsOf(
  contents: readonly Digest[],
): { packs: Pack[]; alone: Digest[] } {
  const packs: Pack[] = [];
  const alone: Digest[] = [];
  let slices: Slice[] = [];
  let size = 0;
  const end = () => {
    if (size > 0) packs.push({ slices, size });
    slices = [];
    size = 0;
  };
  for (const digest of contents) {
    if (digest.size >= BIG) {
      alone.push(digest);
      continue;
    }
    slices.push({ digest, at: size });
    size += digest.size;
    if (size >= LONGEST || (size >= PACK && isLast(digest))) end();
  }
  end();
  return { packs, alone };
}

/**
 * Whether a pack ends with it, as the content itself says: so after a change, packs soon
 * begin where they began before, and those need not be sent again.
 */
function isLast({ hash, size }: Digest): boolean {
  return Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < size / MORE;
}

/**
 * The parts of a pack that are to be fetched for the contents that are lacked.
 *
 * @param digest The pack's own.
 * @returns A few: each is a call. Where there are more, the smallest gaps are fetched, too.
 */
export function partsOf(
  digest: Digest,
  pack: Pack,
  isLacked: (content: Digest) => boolean,
): Part[] {
  const slices = pack.slices.filter(({ digest }) => isLacked(digest));
  const gaps = slices.map(({ at }, index) => {
    const before = slices[index - 1];
    return before ? at - before.at - before.digest.size : Infinity;
  });
  const smallest = gaps.toSorted((a, b) => b - a)[MOST_PARTS] ?? 0;
  const bridged = Math.max(GAP, smallest);
  const runs: Slice[][] = [];
  for (const [index, slice] of slices.entries()) {
    if (gaps[index]! > bridged) runs.push([]);
    runs.at(-1)!.push(slice);
  }
  return runs.map((slices) => {
    const last = slices.at(-1)!;
    const to = last.at + last.digest.size;
    return { range: { digest, from: slices[0]!.at, to }, slices };
  });
}

/**
 * Takes a part apart. Whether contents are what they should be is not looked at.
 *
 * @throws {RemoteError} Of kind `wrong` if it has another length.
 */
export function* slicesIn(
  { range: { from, to }, slices }: Part,
  bytes: Uint8Array,
): Generator<[digest: Digest, content: Uint8Array]> {
  if (bytes.length !== to - from) {
    throw new RemoteError(
      "wrong",
      `it sent ${bytes.length} bytes instead of ${to - from}`,
    );
  }
  for (const { digest, at } of slices) {
    yield [digest, bytes.subarray(at - from, at - from + digest.size)];
  }
}

/** The bytes of a pack. */
export function readPack(
  { slices, size }: Pack,
  source: RemoteSource,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (const { digest, at } of slices) {
    const content = source.read(digest);
    // Else the next one would be where this one should end.
    if (content.length !== digest.size) {
      throw new Error(
        `A content of ${digest.size} bytes has ${content.length}`,
      );
    }
    bytes.set(content, at);
  }
  return bytes;
}

/** A source that has packs, too. One that was read before is read once more. */
export class PackSource implements RemoteSource {
  readonly #packs: ReadonlyMap<string, Pack>;
  readonly #source: RemoteSource;

  /** @param packs By the hashes of their digests. */
  constructor(packs: ReadonlyMap<string, Pack>, source: RemoteSource) {
    this.#packs = packs;
    this.#source = source;
  }

  read(digest: Digest): Uint8Array<ArrayBuffer> {
    const pack = this.#packs.get(digest.hash);
    return pack ? readPack(pack, this.#source) : this.#source.read(digest);
  }

  stream(digest: Digest): AsyncIterable<Uint8Array<ArrayBuffer>> {
    const pack = this.#packs.get(digest.hash);
    return pack
      ? inPieces(readPack(pack, this.#source))
      : this.#source.stream(digest);
  }
}

async function* inPieces(
  bytes: Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += BIG) {
    yield bytes.subarray(at, at + BIG);
  }
}
