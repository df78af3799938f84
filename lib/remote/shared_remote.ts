/**
 * A remote: when its server is asked, and what is said of what it did.
 *
 * @module
 */

import type {
  Pulled,
  RemoteCallOptions,
  RemoteKey,
  RemoteOutcome,
  RemoteReport,
  RemoteServer,
  RemoteSink,
  RemoteSource,
} from "../cache/remote.ts";
import type { ListedDirectory } from "../link/listing.ts";
import { log } from "../log.ts";
import { checkSignal, checkType } from "../os/arguments.ts";
import { sha256 } from "../os/sha256.ts";
import { printable } from "../os/text.ts";
import { Breaker, LostKeys } from "./breaker.ts";
import {
  type Counts,
  type Engine,
  type EngineCall,
  RemoteError,
} from "./engine.ts";
import { makeEngine } from "./engines.ts";
import type { DoctorOptions, RemoteHealth } from "./health.ts";
import { Measure } from "./measure.ts";
import { Notes } from "./notes.ts";
import type { Settings } from "./options.ts";
import type { Result, Session } from "./session.ts";

/** What is done once the server answers. */
type Work<T extends Result> = (
  open: () => Promise<Session>,
) => Promise<T>;

/** A server, by whichever engine. */
export class SharedRemote implements RemoteServer {
  readonly name: string;
  readonly mode: "read" | "read-write";
  readonly #settings: Settings;
  readonly #makeEngine: typeof makeEngine;
  #notes: Notes;
  #engine: Promise<Engine> | undefined;
  #opened: Promise<{ update?: boolean }> | undefined;
  #breaker: Breaker | undefined;
  #lost: LostKeys | undefined;
  #isClosed = false;

  /** @param make Another way to an engine, for tests. */
  constructor(settings: Settings, make = makeEngine) {
    this.name = settings.name;
    this.mode = settings.mode;
    this.#settings = settings;
    this.#makeEngine = make;
    this.#notes = new Notes(settings.folder);
  }

  keepNotesIn(folder: string): void {
    if (this.#settings.folder !== undefined || this.#breaker) return;
    this.#notes = new Notes(folder);
  }

  async pull(
    key: RemoteKey,
    sink: RemoteSink,
    options: RemoteCallOptions = {},
  ): Promise<Pulled> {
    const { result, report } = await this.#run(key, options, async (open) => {
      const { pull } = await import("./pull.ts");
      return await pull(await open(), key, sink, this.#settings.trusted);
    });
    return { ...result?.tree && { tree: result.tree }, report };
  }

  async push(
    key: RemoteKey,
    tree: readonly ListedDirectory[],
    source: RemoteSource,
    options: RemoteCallOptions = {},
  ): Promise<RemoteReport> {
    const { report } = await this.#run(key, options, async (open) => {
      if (this.mode === "read") {
        const reason = "it was opened to be read, and not to be written";
        return { outcome: "off", files: 0, reason };
      }
      const { encodeTree } = await import("./tree.ts");
      const { push } = await import("./push.ts");
      const encoded = encodeTree(tree); // before anything is asked
      const { signing } = this.#settings;
      return await push(await open(), key, encoded, source, signing);
    });
    return report;
  }

  /** See {@linkcode doctor}. */
  async examine({ signal }: DoctorOptions): Promise<RemoteHealth> {
    const { examine } = await import("./doctor.ts");
    signal?.throwIfAborted();
    const call = { signal: signal ?? new AbortController().signal };
    const { kind, name, mode } = this.#settings;
    const health = { kind, name, reads: false, writes: false };
    try {
      const engine = await this.#made(call);
      const { update } = await this.#open(engine, call);
      const can = await examine(engine, { update, mode }, call);
      (await this.#states()).breaker.close();
      const { reason, ...rest } = can;
      return {
        ...health,
        ...rest,
        ...reason !== undefined && { reason: this.#line(reason) },
      };
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RemoteError)) throw error;
      return { ...health, reason: this.#line(error.message) };
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#engine?.then((engine) => engine[Symbol.dispose](), () => {});
    this.#engine = undefined;
  }

  async #run<T extends Result>(
    key: RemoteKey,
    { signal, onProgress }: RemoteCallOptions,
    work: Work<T>,
  ): Promise<{ result?: T; report: RemoteReport }> {
    checkSignal(signal);
    checkType("onProgress", onProgress, "function");
    if (this.#isClosed) throw new Error(`"${this.name}" is closed`);
    signal?.throwIfAborted();
    const start = performance.now();
    const measure = new Measure(signal, onProgress);
    const finish = (outcome: RemoteOutcome, files: number, reason?: string) =>
      this.#report(outcome, files, reason, measure.counts, start);
    try {
      checkKey(key);
      const states = await this.#states();
      if (states.breaker.isOpen()) {
        return {
          report: finish("off", 0, "it was down less than a minute ago"),
        };
      }
      const result = await work(() => this.#session(measure, states.lost));
      return {
        result,
        report: finish(result.outcome, result.files, result.reason),
      };
    } catch (error) {
      signal?.throwIfAborted();
      const [outcome, reason] = await this.#outcomeOf(error);
      return { report: finish(outcome, 0, reason) };
    }
  }

  async #session(measure: Measure, lost: LostKeys): Promise<Session> {
    const { call } = measure;
    const engine = await this.#made(call);
    measure.begin(engine.counts);
    const { update } = await this.#open(engine, call);
    const expect = (bytes: number) => measure.expect(bytes);
    return { name: this.name, engine, update, call, lost, expect };
  }

  /** What to say of an error. One that is not the server's is thrown. */
  async #outcomeOf(error: unknown): Promise<[RemoteOutcome, string]> {
    if (error instanceof RemoteError) {
      if (error.kind !== "down") return ["refused", error.message];
      const { breaker } = await this.#states();
      breaker.open(this.#line(error.message));
      return ["down", error.message];
    }
    const { UnsendableTree } = await import("./tree.ts");
    if (error instanceof UnsendableTree) return ["refused", error.message];
    throw error;
  }

  #report(
    outcome: RemoteOutcome,
    files: number,
    reason: string | undefined,
    counts: Counts,
    start: number,
  ): RemoteReport {
    const report: RemoteReport = {
      outcome,
      calls: counts.calls,
      sentBytes: counts.sentBytes,
      receivedBytes: counts.receivedBytes,
      files,
      durationMs: performance.now() - start,
      ...reason !== undefined && { reason: this.#line(reason) },
    };
    log.debug(() => `Remote: ${outcome}: ${report.reason ?? this.name}`);
    return report;
  }

  /** One line for people that names the server, and has nothing secret in it. */
  #line(text: string): string {
    const scrubbed = this.#settings.credentials.scrub(text);
    return printable(`${this.name}: ${scrubbed}`, 400);
  }

  async #states(): Promise<{ breaker: Breaker; lost: LostKeys }> {
    if (!this.#breaker || !this.#lost) {
      const hash = (await sha256(this.#settings.url.href)).slice(0, 40);
      this.#breaker ??= new Breaker(this.#notes, hash);
      this.#lost ??= new LostKeys(this.#notes, hash);
    }
    return { breaker: this.#breaker, lost: this.#lost };
  }

  #made(call: EngineCall): Promise<Engine> {
    return this.#shared(
      call,
      () => this.#engine,
      (made) => this.#engine = made,
      async () => {
        const engine = await this.#makeEngine(this.#settings, call.signal);
        if (this.#isClosed) engine[Symbol.dispose]();
        return engine;
      },
    );
  }

  #open(engine: Engine, call: EngineCall): Promise<{ update?: boolean }> {
    return this.#shared(
      call,
      () => this.#opened,
      (opened) => this.#opened = opened,
      () => engine.open(call),
    );
  }

  /**
   * Does once for all calls what one of them does first. If that fails, the next one tries
   * again; so does one that waited for another's which was aborted.
   */
  async #shared<T>(
    { signal }: EngineCall,
    get: () => Promise<T> | undefined,
    set: (promise: Promise<T> | undefined) => void,
    make: () => Promise<T>,
  ): Promise<T> {
    for (;;) {
      const others = get();
      const promise = others ?? make();
      set(promise);
      try {
        return await promise;
      } catch (error) {
        if (get() === promise) set(undefined);
        signal.throwIfAborted();
        if (!others || error instanceof RemoteError) throw error;
      }
    }
  }
}

/** A server's text is UTF-8; and a NUL is where a signed text takes the next part to begin. */
function checkKey({ bucket, key }: RemoteKey): void {
  if (!bucket.isWellFormed() || !key.isWellFormed() || bucket.includes("\0")) {
    throw new RemoteError("refused", "the bucket or the key is no valid text");
  }
}
