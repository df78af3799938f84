import { Peer } from "./command.ts";
import type { HttpCache } from "./http_cache.ts";
import { check, type Violation } from "./model.ts";
import { historyOf } from "./model_history.ts";
import { type Line, LogReader, LogWriter, operationsOf } from "./model_log.ts";
import {
  BLOBS,
  KEYS,
  KILLED,
  KILLED_REMOTE,
  MUST,
  MUST_REMOTE,
} from "./model_plan.ts";
import { namesBut, WorkDir } from "./model_work.ts";
import { Seeded } from "./seeded.ts";

/** How long, and with what. */
export interface RunOptions {
  readonly seed: string;
  /** Whether one is killed every 300 ms. */
  readonly kill: boolean;
  /** At least so often each kind of event is seen. */
  readonly times: number;
  /** At least so long, in seconds. */
  readonly seconds: number;
}

/** What came of it. */
export interface Outcome {
  readonly violations: readonly Violation[];
  /** Operations by kind and outcome. */
  readonly counts: Readonly<Record<string, number>>;
  readonly kills: number;
}

const PROCESSES = 6;

/** Where a run that has not seen everything gives up, in milliseconds. */
const LIMIT = 10 * 60 * 1000;

/** After so many operations the remote forgets its keys. */
const MEMORY = 100;

/** Where it is done. */
export class Place {
  /** The cache; where there is a remote, one on each of two machines that share it. */
  readonly roots: readonly string[];
  /** Nothing but the caches and their lock files is to be here. */
  readonly here: string;
  readonly log: string;
  readonly remote: HttpCache | undefined;
  readonly #folder: string;
  readonly #seed: string;
  #forgot = 0;

  /** @param log A file for the log, best on another file system. */
  constructor(folder: string, log: string, seed: string, remote?: HttpCache) {
    this.here = `${folder}/here`;
    const names = remote ? ["cache", "other"] : ["cache"];
    this.roots = names.map((name) => `${this.here}/${name}`);
    this.log = log;
    this.remote = remote;
    this.#folder = folder;
    this.#seed = seed;
    Deno.mkdirSync(this.here);
  }

  /** The directory of one process. */
  work(process: string | number): string {
    const at = `${this.#folder}/work/${process}`;
    Deno.mkdirSync(at, { recursive: true });
    return at;
  }

  /** Starts one; if there are two machines, each second one on the other. */
  begin(
    process: number,
    start: number,
    kinds: string[] = [],
    name = `${process}`,
  ): Peer {
    const root = this.roots[process % this.roots.length]!;
    const args = [root, this.work(name), this.log, this.#seed];
    const url = this.remote?.url ?? "";
    const all = [...args, `${name}.${start}`, url, ...kinds];
    return Peer.support("model_process.ts", ...all);
  }

  /** Lets one on each machine do something once. */
  async once(start: number, ...kinds: string[]): Promise<void> {
    for (const i of this.roots.keys()) {
      const peer = this.begin(i, start, kinds, `last-${i}`);
      const { code, heard } = await peer.end();
      if (code !== 0) throw new Error(heard);
    }
  }

  /** Lets the remote forget its keys, as servers do. */
  forget(): void {
    if (!this.remote) return;
    using writer = new LogWriter(this.log);
    const n = this.#forgot++;
    const line = { process: "remote", n, kind: "forget" } as const;
    writer.write({ ...line, tell: "begin" });
    for (const name of this.remote.names("ac")) {
      Deno.removeSync(this.remote.path("ac", name));
    }
    writer.write({ ...line, tell: "end", outcome: "done" });
  }

  /** Compares the log with the model. A kill can tear one line, its process's last one. */
  check(kills = 0): Violation[] {
    using reader = new LogReader(this.log);
    const operations = operationsOf(reader.read());
    const violations = check(historyOf(operations, KEYS, BLOBS));
    if (reader.torn <= kills) return violations;
    const message = `${reader.torn} lines of the log are torn`;
    return [...violations, { kind: "failed", message }];
  }
}

/**
 * Lets processes loose on a cache, until each kind of event was seen, and compares what
 * they saw with the model.
 */
export async function runModel(
  place: Place,
  options: RunOptions,
): Promise<Outcome> {
  using crew = new Crew(place, options);
  await crew.work();
  const { roots, here, remote } = place;
  const left: string[] = [];
  const pull = remote ? ["pull"] : [];
  const first = ["entries", "verify", "hold", ...pull, "put", "prune"];
  await place.once(1, ...first, "entries");
  left.push(...roots.flatMap((it) => unreferenced(it, crew.listed())));
  place.forget();
  await place.once(2, "verify", "limit", "entries", "hold");
  left.push(...roots.flatMap(litter));
  await place.once(3, "clear");
  const locks = roots.flatMap((it) => [`${it}.lock`, `${it}.rebuild.lock`]);
  const known = locks.map((path) => path.slice(here.length + 1));
  left.push(...namesBut(here, known));
  for (let i = 0; i < PROCESSES; i++) {
    left.push(...await new WorkDir(place.work(i)).left());
  }
  return {
    violations: [
      ...place.check(crew.kills),
      ...left.map((message) => ({ kind: "left", message }) as const),
    ],
    counts: crew.counts(),
    kills: crew.kills,
  };
}

/** The processes at work, and what they have told. */
class Crew {
  readonly #options: RunOptions;
  readonly #place: Place;
  /** What was listed last on each machine. */
  readonly #listed = new Map<string | undefined, Line["all"]>();
  readonly #reader: LogReader;
  readonly #writer: LogWriter;
  readonly #random: Seeded;
  readonly #starts: number[] = Array(PROCESSES).fill(0);
  readonly #peers: Peer[] = [];
  /** What each is doing: how many it has done, and the kind that it is at. */
  readonly #now = new Map<string, { done: number; kind?: string }>();
  readonly #counts = new Map<string, number>();
  /** How many operations have ended. */
  #ended = 0;
  kills = 0;

  constructor(place: Place, options: RunOptions) {
    this.#place = place;
    this.#options = options;
    this.#reader = new LogReader(place.log);
    this.#writer = new LogWriter(place.log);
    this.#random = new Seeded(`${options.seed} kills`);
  }

  /** Until everything was seen. */
  async work(): Promise<void> {
    const { kill, seconds } = this.#options;
    const begun = performance.now();
    for (let i = 0; i < PROCESSES; i++) {
      this.#peers.push(this.#place.begin(i, 0));
    }
    try {
      await this.#watch(begun, begun + seconds * 1000, kill);
    } catch (error) {
      for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
      throw error;
    }
    for (const ended of this.#peers.map((peer) => peer.end())) {
      const { code, heard } = await ended;
      if (code !== 0) throw new Error(heard);
    }
  }

  async #watch(begun: number, end: number, kill: boolean): Promise<void> {
    for (let killed = begun;;) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      this.#read();
      const now = performance.now();
      const missing = this.#missing();
      if (now >= end && !missing[0]) return;
      if (now > begun + LIMIT) throw new Error(`In vain: ${missing}`);
      const dead = this.#peers.find(({ over }) => over);
      if (dead) throw new Error(`It died: ${(await dead.end()).heard}`);
      if (!kill || now < killed + 300) continue;
      // What is to be killed in its middle is given a while to come.
      const victim = this.#victim(missing, now > killed + 600);
      if (victim === undefined) continue;
      await this.#kill(victim);
      killed = now;
    }
  }

  #read(): void {
    for (const line of this.#reader.read()) {
      const { process, machine, tell, kind, outcome = "" } = line;
      const { done = 0 } = this.#now.get(process) ?? {};
      if (tell === "begin") this.#now.set(process, { done, kind });
      const isRemote = outcome.startsWith("remote ");
      if (tell === "end" || isRemote) this.#count(`${kind} ${outcome}`);
      if (tell !== "end") continue;
      this.#now.set(process, { done: done + 1 });
      if (kind === "entries") this.#listed.set(machine, line.all);
      if (++this.#ended % MEMORY === 0) this.#place.forget();
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  #missing(): string[] {
    const { kill, times } = this.#options;
    const [must, kinds] = this.#place.remote
      ? [MUST_REMOTE, KILLED_REMOTE]
      : [MUST, KILLED];
    const killed = kill ? kinds.map((kind) => `${kind} killed`) : [];
    const few = (least: number) => (what: string) =>
      (this.#counts.get(what) ?? 0) < least;
    return [...must.filter(few(times)), ...killed.filter(few(1))];
  }

  #at(i: number): { done: number; kind?: string } | undefined {
    return this.#now.get(`${i}.${this.#starts[i]}`);
  }

  /** One in the middle of what was not killed yet, or any; none that only starts. */
  #victim(missing: readonly string[], any: boolean): number | undefined {
    const able = this.#peers.map((_, i) => i)
      .filter((i) => (this.#at(i)?.done ?? 0) > 0);
    const best = able
      .filter((i) => missing.includes(`${this.#at(i)!.kind} killed`));
    if (best.length > 0) return this.#random.one(best);
    const isWanted = missing.some((what) => what.endsWith(" killed"));
    if (able.length === 0 || (isWanted && !any)) return undefined;
    return this.#random.one(able);
  }

  async #kill(one: number): Promise<void> {
    this.#peers[one]!.kill("SIGKILL");
    await this.#peers[one]!.end();
    this.#read();
    const kind = this.#at(one)?.kind;
    if (kind !== undefined) this.#count(`${kind} killed`);
    const process = `${one}.${this.#starts[one]}`;
    const died = { process, n: -1, tell: "mid", kind: "died" } as const;
    this.#writer.write(died);
    this.#peers[one] = this.#place.begin(one, ++this.#starts[one]!);
    this.kills++;
  }

  counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort());
  }

  /** The ids that were listed last. */
  listed(): Set<string> {
    this.#read();
    const all = [...this.#listed.values()].flatMap((it) => it ?? []);
    return new Set(all.map(([, id]) => id));
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
    this.#writer[Symbol.dispose]();
  }
}

/** After a prune, archives are there that a key points to, and no others. */
function unreferenced(root: string, listed: ReadonlySet<string>): string[] {
  const folder = namesBut(root).find((name) => /^archive-v\d+$/.test(name));
  const there = folder ? namesBut(`${root}/${folder}`) : [];
  return there.filter((id) => !listed.has(id)).map((id) => `archive ${id}`);
}

/** After a prune of everything: the tag, counters, notes, and lock files that are nobody's own. */
function litter(at: string): string[] {
  return [...Deno.readDirSync(at)].flatMap(({ name, isDirectory }) => {
    const path = `${at}/${name}`;
    if (ID.test(name)) return [path];
    if (isDirectory) return litter(path);
    // A prune spares notes of the last minute: somebody may be placing what they say.
    const isKnown = /[.]lock$|[/](stats|placed)[/][^/]*$/.test(path) ||
      /^(CACHEDIR[.]TAG|[.]gitignore)$/.test(name);
    // A content that is hard-linked from the cache stays stored.
    const isLinked = /[/]files-v\d+[/]..[/]/.test(path) &&
      Deno.lstatSync(path).nlink! > 1;
    return isKnown || isLinked ? [] : [path];
  });
}

/** An archive's id in a name; those of keys and blobs are longer. */
const ID = /(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/;
