/** What a remote makes of what its engine says, where no real server says it on demand. */

import { assertEquals, assertRejects } from "@std/assert";
import type { Digest } from "../../lib/cache/remote.ts";
import { type Engine, RemoteError } from "../../lib/remote/engine.ts";
import { type RemoteOptions, settingsOf } from "../../lib/remote/options.ts";
import { SharedRemote } from "../../lib/remote/shared_remote.ts";
import { randomBytes } from "../support/memory_contents.ts";
import { TempDir } from "../support/temp_dir.ts";
import { DirectorySink, DirectorySource, listTree } from "../support/trees.ts";

const KEY = { bucket: "b", key: "k" };
const URL_ = "grpc://127.0.0.1:1/instance";
const WRITE: RemoteOptions = { mode: "read-write" };

/** An engine in memory, that notes its calls. */
class MemoryEngine implements Engine {
  readonly layout = "files";
  readonly counts = { calls: 0, sentBytes: 0, receivedBytes: 0 };
  readonly calls: string[] = [];
  /** What the next calls of a name throw. */
  readonly failures = new Map<string, unknown>();
  update: boolean | undefined = true;
  isDisposed = false;

  #note(name: string): void {
    this.calls.push(name);
    this.counts.calls++;
    const failure = this.failures.get(name);
    if (failure !== undefined) throw failure;
  }

  // deno-lint-ignore require-await -- what is thrown is a rejection
  async open() {
    this.#note("open");
    return this.update === undefined ? {} : { update: this.update };
  }
  // deno-lint-ignore require-await -- as above
  async getAction() {
    this.#note("getAction");
    return undefined;
  }
  // deno-lint-ignore require-await -- as above
  async putAction() {
    this.#note("putAction");
  }
  // deno-lint-ignore require-await -- as above
  async missing(digests: readonly Digest[]) {
    this.#note("missing");
    return [...digests];
  }
  // deno-lint-ignore require-await -- as above
  async upload() {
    this.#note("upload");
  }
  // deno-lint-ignore require-await -- as above
  async download(digests: readonly Digest[]) {
    this.#note("download");
    return [...digests];
  }
  [Symbol.dispose]() {
    this.isDisposed = true;
  }
}

/** A remote with an engine in memory, and a tree of so many megabytes. */
function start(dir: TempDir, options: RemoteOptions = WRITE, megabytes = 0) {
  const engine = new MemoryEngine();
  let made = 0;
  const make = () => {
    made++;
    return Promise.resolve(engine);
  };
  const root = dir.at("tree");
  Deno.mkdirSync(root);
  for (let at = 0; at < megabytes; at++) {
    Deno.writeFileSync(`${root}/${at}`, randomBytes(1_000_000));
  }
  const remote = new SharedRemote(settingsOf(URL_, options), make);
  const tree = listTree(root);
  const source = new DirectorySource(root);
  const push = () => remote.push(KEY, tree, source);
  const sink = new DirectorySink(dir.at("sink"));
  const pull = async () => (await remote.pull(KEY, sink)).report;
  return { engine, remote, push, pull, made: () => made };
}

Deno.test("SharedRemote.push() is refused by a server that says it may not be written", async () => {
  await using dir = TempDir.make();
  const { engine, push, pull, remote } = start(dir);
  using _ = remote;
  engine.update = false;
  const report = await push();
  assertEquals([report.outcome, report.calls], ["refused", 1]);
  assertEquals(
    report.reason,
    `${URL_}: it may not be written with these credentials`,
  );
  assertEquals(engine.calls, ["open"]);
  assertEquals((await pull()).outcome, "miss");
});

Deno.test("SharedRemote.push() tries a few bytes before it sends many", async () => {
  await using dir = TempDir.make();
  const { engine, push, remote } = start(dir, WRITE, 17);
  using _ = remote;
  assertEquals((await push()).outcome, "pushed");
  const few = ["open", "missing", "upload", "putAction"];
  assertEquals(engine.calls, few.toSpliced(2, 0, "upload"));
  engine.calls.length = 0;
  engine.failures.set("upload", new RemoteError("refused", "no"));
  const report = await push();
  assertEquals([report.outcome, report.files], ["refused", 0]);
  assertEquals(engine.calls, ["missing", "upload"]);
});

Deno.test("SharedRemote.push() tries nothing before it sends little", async () => {
  await using dir = TempDir.make();
  const { engine, push, remote } = start(dir, WRITE, 15);
  using _ = remote;
  assertEquals((await push()).outcome, "pushed");
  assertEquals(engine.calls, ["open", "missing", "upload", "putAction"]);
});

Deno.test("SharedRemote makes an engine once, opens it once, and again if that failed", async () => {
  await using dir = TempDir.make();
  const { engine, pull, remote, made } = start(dir);
  engine.failures.set("open", new RemoteError("refused", "not yet"));
  assertEquals((await pull()).outcome, "refused");
  engine.failures.clear();
  const reports = await Promise.all([pull(), pull(), pull()]);
  assertEquals(reports.map(({ outcome }) => outcome), ["miss", "miss", "miss"]);
  await pull();
  assertEquals(made(), 1);
  assertEquals(engine.calls.filter((it) => it === "open").length, 2);
  remote[Symbol.dispose]();
  await Promise.resolve();
  assertEquals(engine.isDisposed, true);
  await assertRejects(pull, Error, "is closed");
});

Deno.test("SharedRemote makes one line without secrets of what an engine says", async () => {
  await using dir = TempDir.make();
  const headers = "authorization: Bearer t0ken-t0ken";
  const { engine, pull, remote } = start(dir, { headers });
  using _ = remote;
  for (const kind of ["refused", "wrong", "down"] as const) {
    const said = `no:\nBearer t0ken-t0ken\x1b[31m ${"x".repeat(1000)}`;
    engine.failures.set("getAction", new RemoteError(kind, said));
    const { outcome, reason } = await pull();
    assertEquals(outcome, kind === "down" ? "down" : "refused");
    assertEquals(reason!.startsWith(`${URL_}: no:?…?[31m xxx`), true, reason);
    assertEquals(reason!.length, 400);
  }
});

Deno.test("SharedRemote throws what is a mistake of ours", async () => {
  await using dir = TempDir.make();
  const { engine, pull, remote } = start(dir);
  using _ = remote;
  engine.failures.set("getAction", new TypeError("a slip"));
  await assertRejects(pull, TypeError, "a slip");
});
