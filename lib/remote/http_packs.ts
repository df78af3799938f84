import type { Digest, EngineCall, Range } from "./engine.ts";
import { HttpError } from "./http_error.ts";

/** What a server sent to a request for a range: that, or the whole. */
export interface Part {
  readonly whole: boolean;
  readonly content: Uint8Array;
}

type Get = (
  wanted: Range | Digest,
  call: EngineCall,
) => Promise<Part | undefined>;

/** Whole packs that are kept: ranges of some are asked for in turn. */
const KEPT = 4;
/** No pack of ours is as large. */
const LARGEST = 64 << 20;

/**
 * Ranges of packs, of servers that know ranges and of those that send the whole: that is
 * asked for once, then.
 */
export class PackReader {
  readonly #get: Get;
  /** By hash: what is under way, and may turn out to be the whole. */
  readonly #asked = new Map<string, Promise<Part | undefined>>();
  /** By hash; the latest is the last. */
  readonly #whole = new Map<string, Uint8Array>();
  #knowsRanges = false;

  /** @param get Asks the server for a range, or for a whole content. */
  constructor(get: Get) {
    this.#get = get;
  }

  /** A part of a content. `undefined` if it is not there. */
  async read(range: Range, call: EngineCall): Promise<Uint8Array | undefined> {
    const { digest, from, to } = range;
    if (from < 0 || to < from || to > digest.size || digest.size > LARGEST) {
      throw new HttpError("wrong", "a pack with a part that cannot be");
    }
    if (from === to) return new Uint8Array();
    const all = from === 0 && to === digest.size;
    const asked = this.#asked.get(digest.hash);
    let part = await asked;
    if (asked && !part) return undefined;
    if (!part?.whole) {
      const whole = this.#whole.get(digest.hash);
      if (whole) part = { whole: true, content: whole };
      else if (all) part = await this.#get(digest, call);
      else if (this.#knowsRanges) part = await this.#get(range, call);
      else part = await this.#first(range, call);
    }
    if (!part || !part.whole) return part?.content;
    if (!all) this.#keep(digest.hash, part.content);
    return part.content.subarray(from, to);
  }

  /** Forgets what it has. */
  clear(): void {
    this.#whole.clear();
  }

  /** Others wait for what becomes of this. */
  async #first(range: Range, call: EngineCall): Promise<Part | undefined> {
    const { digest: { hash } } = range;
    const asked = this.#asked.get(hash);
    // Two that waited for the same part of it.
    if (asked) {
      const part = await asked;
      return part?.whole ? part : await this.#get(range, call);
    }
    const first = this.#get(range, call);
    this.#asked.set(hash, first);
    try {
      const part = await first;
      this.#knowsRanges = part !== undefined && !part.whole;
      return part;
    } finally {
      this.#asked.delete(hash);
    }
  }

  #keep(hash: string, content: Uint8Array): void {
    this.#whole.delete(hash);
    this.#whole.set(hash, content);
    for (const other of this.#whole.keys()) {
      if (this.#whole.size <= KEPT) break;
      this.#whole.delete(other);
    }
  }
}
