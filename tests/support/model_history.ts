// What the operations of a log did to the model's keys, and what they saw there.
import type { Copy, Event, History, Violation, Write } from "./model.ts";
import type { Operation } from "./model_log.ts";

/** Where something wrong is what could not be done, not what was seen. */
const FAILURES: readonly string[] = ["prune", "limit", "clear"];

/** What asks the remote for what is not here. */
const PULLS: readonly string[] = [
  ...["get", "hold", "replace", "reset", "ensure", "pull"],
];

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
  readonly copies: Copy[] = [];
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
    const { kind, outcome } = operation;
    this.#blame(operation);
    const begun = operation.mids.find(({ outcome }) => outcome === "begun");
    if (PULLS.includes(kind)) this.#ask(operation);
    switch (kind) {
      case "put":
      case "put file":
        this.#push(operation, operation.version);
        return this.#write(operation, operation.version);
      case "stage":
        return this.#write(operation, operation.version, begun?.at);
      case "push":
        this.#push(operation);
        return this.#get(operation);
      case "pull":
        return this.#pull(operation);
      case "forget":
        return this.#forget(operation);
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

  #blame(operation: Operation): void {
    const { kind, outcome, wrong = [] } = operation;
    if (wrong.length === 0) return;
    const isSeen = outcome !== "failed" && !FAILURES.includes(kind);
    const fault = isSeen ? "foreign" : "failed";
    const message = `${tell(operation)}: ${wrong.join("; ")}`;
    this.faults.push({ kind: fault, message });
  }

  /**
   * A key that is not listed was not there; unless it was put just then: a listing need
   * not show a name that another takes the place of.
   */
  addListed(): void {
    const all = Map.groupBy(
      [
        ...this.writes.filter(({ version }) => version !== undefined),
        ...this.copies,
      ],
      ({ key }) => key,
    );
    for (const operation of this.#listings) {
      const { from, to } = operation;
      const listed = new Map(operation.all);
      for (const key of this.#keys) {
        const id = listed.get(key);
        const isPut = (it: Write | Copy) => it.from < to && it.to > from;
        const puts = all.get(here(operation, key)) ?? [];
        if (id === undefined && puts.some(isPut)) continue;
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
    const key = here(it, it.key!);
    this.writes.push({
      key,
      version,
      from,
      to,
      by: tell(it),
      sure: !isCut(it),
    });
  }

  #read(
    { from, to, ...it }: Operation,
    name: string,
    version: string | undefined,
    span: { from?: number; to?: number } = {},
  ): void {
    const key = here(it, name);
    this.reads.push({ key, version, from, to, by: tell(it), ...span });
  }

  /** Nobody asks the remote for what is here, unless it is a pull. */
  #ask(it: Operation): void {
    if (it.machine === undefined) return;
    const [name, by, answer] = [it.key!, tell(it), asked(it)];
    const span = { from: it.from, to: answer?.at ?? it.to };
    const source = { key: there(name), ...span };
    if (answer && it.kind !== "pull") this.#read(it, name, undefined, span);
    if (answer?.outcome === "remote miss") {
      this.reads.push({ ...source, version: undefined, by });
    } else if (answer || (isCut(it) && it.mids.length === 0)) {
      const key = here(it, name);
      // On a miss, it stands back where somebody has put something meanwhile.
      const sure = answer !== undefined && it.kind === "pull";
      this.copies.push({ key, source, ...span, by, sure });
    }
  }

  /** It may have brought nothing, and then tells what is here. */
  #pull(it: Operation): void {
    const from = asked(it)?.at ?? it.from;
    if (!isCut(it)) this.#read(it, it.key!, it.version, { from });
  }

  /** What was sent may come there after the death of who sent it. */
  #push(it: Operation, version?: string, from = it.from): void {
    const pushed = it.mids.find(({ outcome }) => outcome === "remote pushed");
    if (it.machine === undefined || (!pushed && !isCut(it))) return;
    const span = { from, to: pushed?.at ?? Infinity, by: tell(it) };
    const sure = pushed !== undefined;
    const write = { key: there(it.key!), ...span, sure };
    if (version !== undefined) this.writes.push({ ...write, version });
    else {
      const to = pushed?.at ?? it.to;
      const source = { key: here(it, it.key!), from, to };
      this.copies.push({ ...write, source });
    }
  }

  #forget(it: Operation): void {
    const { from, to } = it;
    const gone = { version: undefined, from, to, by: tell(it), sure: true };
    for (const key of this.#keys) {
      this.writes.push({ key: there(key), ...gone });
    }
  }

  #ensure(it: Operation): void {
    const building = it.mids.find(({ outcome }) => outcome === "building");
    if (building) {
      this.#read(it, it.key!, undefined, { to: building.at });
      this.#write(it, building.version!, building.at);
      this.#push(it, building.version!, building.at);
    }
    this.#get(it, building?.at);
  }

  /** Its instant was before it was read: it was held meanwhile. */
  #get(it: Operation, from = asked(it)?.at ?? it.from): void {
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
    const { from, to } = it;
    const gone = { version: undefined, from, to, by: tell(it) };
    const take = (key: string, sure: boolean) =>
      this.writes.push({ key: here(it, key), ...gone, sure });
    if (isCut(it)) {
      const all = it.kind === "limit" ? [...this.#keys, ...this.#blobs] : [];
      for (const key of all) take(key, false);
      return;
    }
    for (const [key, id] of it.all ?? []) {
      const version = this.#versions.get(id);
      if (version !== undefined) this.#read(it, key, version);
      take(key, true);
    }
    // It counts them, and does not name them.
    if (!it.count) return;
    for (const key of this.#blobs) take(key, false);
  }

  #clear(it: Operation): void {
    const { from, to, outcome } = it;
    for (const name of [...this.#keys, ...this.#blobs]) {
      if (outcome === "absent") this.#read(it, name, undefined);
      else {
        const sure = outcome === "cleared";
        const [key, by] = [here(it, name), tell(it)];
        this.writes.push({ key, version: undefined, from, to, by, sure });
      }
    }
  }

  #rebuild(it: Operation, from: number): void {
    const { to, outcome } = it;
    if (outcome === "shared" || outcome === "busy") return;
    const built = new Map(it.all);
    const sure = outcome === "rebuilt";
    for (const name of [...this.#keys, ...this.#blobs]) {
      const [key, version] = [here(it, name), built.get(name)];
      this.writes.push({ key, version, from, to, by: tell(it), sure });
    }
  }
}

/** Whether it may have done only a part. */
function isCut({ outcome }: Operation): boolean {
  return outcome === "killed" || outcome === "failed";
}

/** What the remote has answered to whoever asked it for a key. */
function asked({ mids }: Operation): Operation["mids"][number] | undefined {
  return mids.find(({ outcome = "" }) => /^remote (hit|miss)$/.test(outcome));
}

/** A key in the cache of a machine. */
function here({ machine }: Pick<Operation, "machine">, key: string): string {
  return machine === undefined ? key : `${key} of ${machine}`;
}

/** A key at the remote. */
function there(key: string): string {
  return `${key} of the remote`;
}

function tell(
  { process, n, kind, outcome }: Omit<Operation, "from" | "to">,
): string {
  return `${kind} ${process}/${n} (${outcome})`;
}
