// The model: each key is a register that holds a version or nothing. Every operation
// has taken effect at one instant between its first line in the log and its last. From
// that follows what must not be seen; each rule is sound (what it says is wrong is
// wrong in every order that the lines allow), and says which operations contradict.
//
// A version is written once. So a set of operations on one key has a right order
// exactly if no span in which a version was certainly there meets another one
// (Gibbons and Korach, "Testing Shared Memories", 1997); what was written by who was
// killed counts from when it is seen.
//
// A server that caches share has a register for each key, too, and one more rule: a copy
// from one register to another writes a version that the other one had meanwhile.

/** Something that happened to a key at one instant between two lines. */
export interface Event {
  readonly key: string;
  /** `undefined`: nothing. */
  readonly version: string | undefined;
  readonly from: number;
  readonly to: number;
  /** Who did it, for people. */
  readonly by: string;
}

/** A key between two lines. */
export type Span = Pick<Event, "key" | "from" | "to">;

/** What was written. */
export interface Write extends Event {
  /** False if nobody knows whether it was done: its process was killed. */
  readonly sure: boolean;
}

/** What was written by a push or a pull: something, and nobody says which version. */
export interface Copy extends Omit<Write, "version"> {
  /** The key that it was read from, at an instant between two lines. */
  readonly source: Span;
}

/** What a run has shown. */
export interface History {
  readonly writes: readonly Write[];
  readonly reads: readonly Event[];
  readonly copies: readonly Copy[];
  /** What is wrong by itself: wrong bytes, damage, an error. */
  readonly faults: readonly Violation[];
}

/** Something that must not be. */
export interface Violation {
  /**
   * `lost`: what was put is missing, and nobody has removed it; `stale`: a version was
   * seen after its end, or two that contradict each other; `foreign`: something was seen
   * that nobody had put there; `left`: garbage stays; `failed`: an operation did.
   */
  readonly kind: "lost" | "stale" | "foreign" | "left" | "failed";
  readonly message: string;
}

/** Finds what must not be. */
export function check(
  { writes, reads, copies, faults }: History,
): Violation[] {
  const { all, vain } = withCopies(writes, copies);
  const violations = [...faults, ...vain.map(fromNothing)];
  const keys = new Set([...all, ...reads].map(({ key }) => key));
  for (const key of keys) {
    const mine = ({ key: it }: Event) => it === key;
    violations.push(...checkKey(key, all.filter(mine), reads.filter(mine)));
  }
  return violations;
}

/**
 * Adds what copies may have written: each version that the other register may have had
 * meanwhile, which may have come there by a copy itself. Whatever a copy has brought, if
 * it is sure, it has ended what was there before.
 */
function withCopies(
  writes: readonly Write[],
  copies: readonly Copy[],
): { all: Write[]; vain: Copy[] } {
  const sure = copies.filter(({ sure }) => sure);
  const all = writes.concat(
    sure.map((copy) => ({ ...copy, version: `what ${copy.by} brought` })),
  );
  const versions = new Set(writes.map(({ version }) => version));
  versions.delete(undefined);
  const brought = new Map(copies.map((it) => [it, new Set<unknown>()]));
  for (let before = -1; before < all.length;) {
    before = all.length;
    const registers = registersOf(all);
    for (const [copy, known] of brought) {
      const { source } = copy;
      for (const it of registers.get(source.key)?.meanwhile(source) ?? []) {
        if (!versions.has(it) || known.has(it)) continue;
        known.add(it);
        all.push({ ...copy, version: it, sure: false });
      }
    }
  }
  return { all, vain: sure.filter((it) => brought.get(it)!.size === 0) };
}

function fromNothing({ source, ...copy }: Copy): Violation {
  const what = tell({ ...copy, version: "something" });
  const message = `${what}, which ${source.key} did not have`;
  return { kind: "foreign", message };
}

function registersOf(all: readonly Write[]): Map<string, Register> {
  const byKey = Map.groupBy(all, ({ key }) => key);
  return new Map(
    [...byKey].map(([key, writes]) => [key, new Register(key, writes)]),
  );
}

function checkKey(key: string, writes: Write[], reads: Event[]): Violation[] {
  const register = new Register(key, writes);
  const found: Violation[] = [];
  for (const read of reads) {
    const { write, end } = register.origin(read);
    if (!write) {
      const message = `${tell(read)}, which nobody had put there`;
      found.push({ kind: "foreign", message });
      continue;
    }
    register.versions.get(read.version)!.reads.push(read);
    if (!end) continue;
    found.push(
      read.version === undefined
        ? { kind: "lost", message: `${tell(read)}, after ${tell(end)}` }
        : {
          kind: "stale",
          message: `${tell(read)} of ${tell(write)}, after ${tell(end)}`,
        },
    );
  }
  // The finer rules would only say again what is said already.
  return found.length > 0 ? found : checkSpans(register.versions);
}

/** No version may be away, or be another's, between two times that it was there. */
function checkSpans(versions: Map<string | undefined, Version>): Violation[] {
  const found: Violation[] = [];
  const spans: Sure[] = [];
  const others: Event[] = versions.get(undefined)!.all();
  for (const [name, version] of versions) {
    // A blob comes again and again: it has no span.
    if (name === undefined || version.writes.length > 1) continue;
    const all = version.all();
    if (all.length === 0) continue;
    const from = all.reduce((a, b) => a.to <= b.to ? a : b);
    const to = all.reduce((a, b) => a.from >= b.from ? a : b);
    if (from.to < to.from) spans.push({ from, to });
    else others.push({ ...from, from: to.from, to: from.to });
  }
  spans.sort((a, b) => a.from.to - b.from.to);
  let last: Sure | undefined;
  for (const span of spans) {
    if (last && span.from.to <= last.to.from) {
      found.push(contradiction(last, span.from));
    }
    if (!last || span.to.from > last.to.from) last = span;
  }
  if (found.length > 0) return found; // those below need them in a row
  for (const other of others) {
    const span = spans[search(spans, (it) => it.from.to < other.from) - 1];
    if (span && other.to < span.to.from) found.push(contradiction(span, other));
  }
  return found;
}

/** What is sure about a version: it was there from the end of one to the begin of another. */
interface Sure {
  readonly from: Event;
  readonly to: Event;
}

function contradiction({ from, to }: Sure, other: Event): Violation {
  return {
    kind: other.version === undefined ? "lost" : "stale",
    message: `${tell(other)}, between ${tell(from)} and ${tell(to)}`,
  };
}

/** What was written under a key. */
class Register {
  readonly versions = new Map<string | undefined, Version>();
  readonly #ends: Ends;

  constructor(key: string, all: readonly Write[]) {
    const nothing = { key, version: undefined, from: -1, to: -1 };
    const writes = [{ ...nothing, by: "the beginning", sure: true }, ...all];
    for (const write of writes) {
      let version = this.versions.get(write.version);
      if (!version) this.versions.set(write.version, version = new Version());
      version.writes.push(write);
    }
    for (const version of this.versions.values()) version.sort();
    this.#ends = new Ends(writes.filter(({ sure }) => sure));
  }

  /** What has written what was seen, and what ended that before, if anything did. */
  origin(
    { version, from, to }: Omit<Event, "by">,
  ): { write?: Write | undefined; end?: Write | undefined } {
    const write = this.versions.get(version)?.lastBefore(to);
    const end = this.#ends.before(from);
    return {
      write,
      end: write && end && end.from > write.to ? end : undefined,
    };
  }

  /** What may have been there at an instant between two lines. */
  meanwhile(span: Span): (string | undefined)[] {
    return [...this.versions.keys()].filter((version) => {
      const { write, end } = this.origin({ version, ...span });
      return write && !end;
    });
  }
}

/** All about one version of a key. */
class Version {
  readonly writes: Write[] = [];
  readonly reads: Event[] = [];
  /** For each write in their order: the one that ends last of it and those before. */
  #last: Write[] = [];

  sort(): void {
    this.writes.sort((a, b) => a.from - b.from);
    this.#last = latest(this.writes, ({ to }) => to);
  }

  /** Of those that began before, the one that ended last. */
  lastBefore(at: number): Write | undefined {
    return this.#last[search(this.writes, ({ from }) => from < at) - 1];
  }

  /** What was not seen may not have been. */
  all(): Event[] {
    const { reads } = this;
    return [...this.writes.filter((it) => it.sure || reads[0]), ...reads]
      .filter((it) => it.version !== undefined || !("sure" in it) || it.sure);
  }
}

/** The sure writes, by their ends. */
class Ends {
  readonly #writes: Write[];
  readonly #last: Write[];

  constructor(writes: Write[]) {
    this.#writes = writes.sort((a, b) => a.to - b.to);
    this.#last = latest(this.#writes, ({ from }) => from);
  }

  /** Of those that ended before, the one that began last. */
  before(at: number): Write | undefined {
    return this.#last[search(this.#writes, ({ to }) => to < at) - 1];
  }
}

/** For each one, the greatest of it and those before it. */
function latest<T>(all: readonly T[], of: (it: T) => number): T[] {
  let last: T | undefined;
  return all.map((it) => last = last && of(last) >= of(it) ? last : it);
}

/** How many at the beginning are so; those that are stand before those that are not. */
function search<T>(all: readonly T[], isSo: (it: T) => boolean): number {
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isSo(all[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function tell({ key, version = "nothing", from, to, by }: Event): string {
  return `[${from}, ${to}] ${by}: ${key} is ${version}`;
}
