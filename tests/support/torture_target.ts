// torture_target.ts: for each line of JSON on standard input, does one operation on
// what lies in the directory `at`, and answers with one line: {"done": …} or
// {"error": {"name": …, "kind": …}}. It stays, so that a tracer sees the calls of the
// operation only.
import {
  CacheError,
  clearCache,
  LinkError,
  linkFile,
  type LinkFileOptions,
  linkTree,
  type LinkTreeOptions,
  LockedError,
  openCache,
  rebuildCache,
  type RemoteReport,
  setLogSink,
} from "../../mod.ts";
import { openRemote } from "../../lib/remote/mod.ts";

/** The cache, with the remote whose URL lies beside the directory. */
function shared(at: string, there = "there") {
  const url = Deno.readTextFileSync(`${at}.url`);
  const remote = openRemote(url, { mode: "read-write" });
  const cache = openCache(`${at}/${there}`, { wait: 0, remote });
  return { remote, cache };
}

/** What was asked of a remote must be done, or an error says why it was not. */
function isDone(at: string, report: RemoteReport | undefined): object {
  const { outcome, reason } = report ?? {};
  if (outcome === "hit" || outcome === "pushed") return { outcome };
  throw new CacheError(`${at}: ${outcome}: ${reason}`, at, "other");
}

/** Marks, in a trace, the calls of a `build` of ours: they are not the library's. */
function mark(): void {
  try {
    Deno.lstatSync("/torture-mark");
  } catch { /* never there */ }
}

function build(to: string): void {
  mark();
  Deno.mkdirSync(`${to}/sub`);
  Deno.writeTextFileSync(`${to}/built`, "built");
  Deno.writeTextFileSync(`${to}/sub/too`, "built, too");
  Deno.symlinkSync("built", `${to}/link`);
  mark();
}

/** `at` has a `source`; `there` is made, or cleared, or a cache; `out` is handed out. */
const DO: Record<string, (at: string, options: object) => Promise<unknown>> = {
  clear: (at, options) => clearCache(`${at}/there`, { wait: 0, ...options }),
  rebuild: (at, options) =>
    rebuildCache(`${at}/there`, build, { wait: 0, ...options }),
  link: (at, options) =>
    linkTree(`${at}/source`, `${at}/there`, options as LinkTreeOptions),
  file: (at, options) =>
    linkFile(`${at}/source/b/three`, `${at}/there`, options as LinkFileOptions),
  put: (at, options) =>
    openCache(`${at}/there`, { wait: 0 })
      .put("key", `${at}/${"from" in options ? options.from : "source"}`),
  async putOther(at) {
    return await openCache(`${at}/there`, { wait: 0 })
      .put("other", `${at}/source/a`);
  },
  async get(at, options) {
    using entry = await openCache(`${at}/there`, { wait: 0 }).get("key");
    return entry ? await entry.link(`${at}/out`, options) : "miss";
  },
  async ensure(at, options) {
    const cache = openCache(`${at}/there`, { wait: 0 });
    using entry = await cache.ensure("key", build);
    return {
      built: entry.outcome === "built",
      ...await entry.link(`${at}/out`, options),
    };
  },
  async pull(at) {
    const { remote, cache } = shared(at);
    using _ = remote;
    return isDone(at, await cache.pull("key"));
  },
  async push(at) {
    const { remote, cache } = shared(at);
    using _ = remote;
    return isDone(at, await cache.push("key"));
  },
  /** What the remote has, pulled to where nothing is. */
  async remote(at) {
    const { remote, cache } = shared(at, "elsewhere");
    using _ = remote;
    const { outcome } = await cache.pull("key");
    using entry = outcome === "hit" ? await cache.get("key") : undefined;
    return entry ? { key: entry.path } : { outcome };
  },
  prune: (at, options) => openCache(`${at}/there`, { wait: 0 }).prune(options),
  verify: (at) => openCache(`${at}/there`, { wait: 0 }).verify(),
  /** Where the tree of each key lies, if it has one. */
  async where(at) {
    const cache = openCache(`${at}/there`);
    const where: Record<string, string> = {};
    for (const key of ["key", "other"]) {
      using entry = await cache.get(key);
      if (entry) where[key] = entry.path;
    }
    return where;
  },
};

const warnings: string[] = [];
setLogSink({ debug() {}, warn: (message) => warnings.push(message) });

function say(answer: object): void {
  const bytes = new TextEncoder().encode(JSON.stringify(answer) + "\n");
  for (let at = 0; at < bytes.length;) {
    at += Deno.stdout.writeSync(bytes.subarray(at));
  }
}

say({ ready: true });
const decoder = new TextDecoder();
for await (const chunk of Deno.stdin.readable) {
  warnings.length = 0;
  try {
    const [what, at, options = {}] = JSON.parse(decoder.decode(chunk));
    say({ done: await DO[what]!(at, options), warnings });
  } catch (error) {
    const { name, message } = error as Error;
    const known = error instanceof CacheError || error instanceof LinkError;
    const kind = known
      ? error.kind
      : error instanceof LockedError
      ? "locked"
      : undefined;
    say({ error: { name, message, kind }, warnings });
  }
}
