// What the operations of a log did to the model's keys, and what they saw there.
import type { Event, History, Violation, Write } from "./model.ts";
import type { Operation } from "./model_log.ts";

/** Where something wrong is what could not be done, not what was seen. */
const FAILURES: readonly string[] = ["prune", "limit", "clear"];

/** A blob is a key that has one version only. */
export const BLOB = "blob";

/** Tells writes and reads from what was logged. */
export function historyOf(
  operations: readonly Operation[],
  keys: readonly string[],
  blobs: readonly string[],
): History {
  const history = new Told(operations, keys, blobs);
  for (const operation of operations) history.add(operation);
  history.addListed();
  return history;
}

class Told implements History {
  readonly writes: Write[] = [];
  readonly reads: Event[] = [];
  readonly faults: Violation[] = [];
  readonly #keys: readonly string[];
  readonly #blobs: readonly string[];
  /** The version that each archive has. */
  readonly #versions = new Map<string, string>();
  readonly #listings: Operation[] = [];

  constructor(
    operations: readonly Operation[],
    keys: readonly string[],
    blobs: readonly string[],
  ) {
    this.#keys = keys;
    this.#blobs = blobs;
    for (const { mids, ...operation } of operations) {
      for (const it of [...mids, operation]) {
        if (it.id === undefined || it.version === undefined) continue;
        const before = this.#versions.get(it.id) ?? it.version;
        this.#versions.set(it.id, it.version);
        if (before === it.version) continue;
        const message = `${it.id} is ${before} and ${it.version}`;
        this.faults.push({ kind: "foreign", message });
      }
    }
  }

  add(operation: Operation): void {
    const { kind, outcome, wrong = [] } = operation;
    const by = tell(operation);
    if (wrong.length > 0) {
      const isSeen = outcome !== "failed" && !FAILURES.includes(kind);
      const fault = isSeen ? "foreign" : "failed";
      this.faults.push({ kind: fault, message: `${by}: ${wrong.join("; ")}` });
    }
    const begun = operation.mids.find(({ outcome }) => outcome === "begun");
    switch (kind) {
      case "put":
      case "put file":
      case "stage":
        return this.#write(operation, operation.version, begun?.at);
      case "ensure":
        return this.#ensure(operation);
      case "get":
      case "hold":
      case "replace":
      case "reset":
        return this.#get(operation);
      case "blob":
        return this.#blob(operation);
      case "entries":
        if (outcome === "done") this.#listings.push(operation);
        return;
      case "prune":
      case "limit":
        return this.#prune(operation);
      case "clear":
        return this.#clear(operation);
      case "rebuild":
        if (begun) this.#rebuild(operation, begun.at);
    }
  }

  /**
   * A key that is not listed was not there; unless it was put just then: a listing need
   * not show a name that another takes the place of.
   */
  addListed(): void {
    const all = Map.groupBy(
      this.writes.filter(({ version }) => version !== undefined),
      ({ key }) => key,
    );
    for (const operation of this.#listings) {
      const { from, to } = operation;
      const listed = new Map(operation.all);
      for (const key of this.#keys) {
        const id = listed.get(key);
        const isPut = (it: Write) => it.from < to && it.to > from;
        if (id === undefined && all.get(key)?.some(isPut)) continue;
        if (id === undefined) this.#read(operation, key, undefined);
        else if (this.#versions.has(id)) {
          this.#read(operation, key, this.#versions.get(id));
        }
      }
    }
  }

  #write(it: Operation, version?: string, from = it.from, to = it.to): void {
    // What was never committed must never be seen.
    if (version === undefined || it.outcome === "abandoned") return;
    const sure = it.outcome !== "killed" && it.outcome !== "failed";
    this.writes.push({ key: it.key!, version, from, to, by: tell(it), sure });
  }

  #read(
    { from, to, ...it }: Operation,
    key: string,
    version: string | undefined,
    span: { from?: number; to?: number } = {},
  ): void {
    this.reads.push({ key, version, from, to, by: tell(it), ...span });
  }

  #ensure(it: Operation): void {
    const building = it.mids.find(({ outcome }) => outcome === "building");
    if (building) {
      this.#read(it, it.key!, undefined, { to: building.at });
      this.#write(it, building.version!, building.at);
    }
    this.#get(it, building?.at);
  }

  /** Its instant was before it was read: it was held meanwhile. */
  #get(it: Operation, from = it.from): void {
    const to = it.mids.find(({ outcome }) => outcome === "held")?.at ?? it.to;
    if (it.outcome === "miss") this.#read(it, it.key!, undefined);
    else if (it.version !== undefined) {
      this.#read(it, it.key!, it.version, { from, to });
    }
  }

  #blob(it: Operation): void {
    const fetches = it.mids.map(({ at }) => at);
    for (const [i, at] of fetches.entries()) {
      this.#read(it, it.key!, undefined, {
        from: fetches[i - 1] ?? it.from,
        to: at,
      });
      this.#write(it, BLOB, at, fetches[i + 1] ?? it.to);
    }
    if (it.outcome === "hit") this.#read(it, it.key!, BLOB);
  }

  #prune(it: Operation): void {
    const { from, to, outcome } = it;
    const gone = { version: undefined, from, to, by: tell(it) };
    if (outcome === "killed" || outcome === "failed") {
      const all = it.kind === "limit" ? [...this.#keys, ...this.#blobs] : [];
      for (const key of all) this.writes.push({ key, ...gone, sure: false });
      return;
    }
    for (const [key, id] of it.all ?? []) {
      const version = this.#versions.get(id);
      if (version !== undefined) this.#read(it, key, version);
      this.writes.push({ key, ...gone, sure: true });
    }
    // It counts them, and does not name them.
    if (!it.count) return;
    for (const key of this.#blobs) {
      this.writes.push({ key, ...gone, sure: false });
    }
  }

  #clear(it: Operation): void {
    const { from, to, outcome } = it;
    for (const key of [...this.#keys, ...this.#blobs]) {
      if (outcome === "absent") this.#read(it, key, undefined);
      else {
        const sure = outcome === "cleared";
        const by = tell(it);
        this.writes.push({ key, version: undefined, from, to, by, sure });
      }
    }
  }

  #rebuild(it: Operation, from: number): void {
    const { to, outcome } = it;
    if (outcome === "shared" || outcome === "busy") return;
    const built = new Map(it.all);
    const sure = outcome === "rebuilt";
    for (const key of [...this.#keys, ...this.#blobs]) {
      const version = built.get(key);
      this.writes.push({ key, version, from, to, by: tell(it), sure });
    }
  }
}

function tell(
  { process, n, kind, outcome }: Omit<Operation, "from" | "to">,
): string {
  return `${kind} ${process}/${n} (${outcome})`;
}
