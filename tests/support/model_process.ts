// model_process.ts ROOT WORK LOG SEED NAME URL [KIND…]: does operations that its seed
// draws with the cache at ROOT, in the directory WORK of its own, until its standard input
// ends; or those kinds, once. Unless it is empty, URL is a remote's. What it begins and what
// it has done stands in LOG before the next thing happens. Of the product, only what
// everybody may import is imported.
import {
  type Archive,
  type CallOptions,
  clearCache,
  linkFile,
  openCache,
  rebuildCache,
} from "../../mod.ts";
import { openRemote } from "../../lib/remote/mod.ts";
import {
  blobText,
  readContent,
  writeFile,
  writeTree,
} from "./model_content.ts";
import { type Line, LogWriter } from "./model_log.ts";
import { BLOBS, KEYS, SLOTS, WEIGHTS, WEIGHTS_REMOTE } from "./model_plan.ts";
import { isFileAt, scribble, WorkDir } from "./model_work.ts";
import { hash, Seeded } from "./seeded.ts";

const [root, work, log, seed, name, url, ...kinds] = Deno.args as [
  ...[root: string, work: string, log: string, seed: string, name: string],
  ...[url: string, ...kinds: string[]],
];
const process = name.split(".")[0];
const random = new Seeded(`${seed} ${name}`);
// Longer than anybody holds a lock, or a remote takes, however slow the machine is.
const wait = 600_000;
using remote = url === "" ? undefined : openRemote(url, {
  mode: "read-write",
  connectTimeout: wait,
  idleTimeout: wait,
});
const machine = root.slice(root.lastIndexOf("/") + 1);
/** What is here, whatever the remote has. */
const local = openCache(root, { wait });
const cache = remote ? openCache(root, { wait, remote }) : local;
using writer = new LogWriter(log);
const dir = new WorkDir(work);
const { source, fresh } = dir;
let count = 0;
/** The one key that is meant. */
let only: string | undefined;

type Kind = keyof typeof WEIGHTS_REMOTE;
type Told = Omit<Line, "process" | "machine" | "n" | "tell" | "kind">;
type Tell = (outcome: string, more?: Told) => void;

/** What an operation is about, and how it is done: gives its outcome. */
interface Task {
  readonly about?: Told;
  run(mid: Tell): Promise<Told>;
}

const TASKS: Record<Kind, () => Task> = {
  put: () => put(writeTree, true),
  "put file": () => put(writeFile, false),
  stage: () => stage(true),
  abandon: () => stage(false),
  ensure() {
    const key = aKey();
    const built = newVersion();
    return {
      about: { key },
      async run(mid) {
        using entry = await cache.ensure(key, (at) => {
          mid("building", { version: built });
          writeTree(at, key, built);
        }, remotely(mid));
        return { ...look(entry.path, entry), outcome: entry.outcome };
      },
    };
  },
  get: () => get(fresh, "fresh"),
  replace: () => get(dir.slot(random.one(SLOTS)), "replace"),
  reset: () => get(fresh, "reset"),
  hold() {
    const key = aKey();
    const pause = random.below(20);
    return {
      about: { key },
      async run(mid) {
        using entry = await cache.get(key, remotely(mid));
        if (!entry) return { outcome: "miss" };
        mid("held", { id: entry.id });
        const before = look(entry.path, entry);
        await new Promise((resolve) => setTimeout(resolve, pause));
        const { wrong } = look(entry.path, entry);
        return { ...before, wrong: [...before.wrong, ...wrong] };
      },
    };
  },
  keep,
  blob() {
    const number = random.below(BLOBS.length);
    const key = BLOBS[number]!;
    return {
      about: { key },
      async run(mid) {
        const text = blobText(number);
        const bytes = new TextEncoder().encode(text);
        const digest = new Uint8Array(
          await crypto.subtle.digest("SHA-256", bytes),
        ).toHex();
        dir.remove(fresh);
        const { fetched } = await cache.blob(digest, fresh, {
          fetch(at) {
            mid("fetching");
            Deno.writeFileSync(at, bytes);
          },
        });
        const found = Deno.readTextFileSync(fresh);
        const wrong = found === text ? [] : [found.slice(0, 80)];
        dir.remove(fresh);
        return { wrong, outcome: fetched ? "fetched" : "hit" };
      },
    };
  },
  push() {
    const key = aKey();
    return {
      about: { key },
      async run(mid) {
        const report = await cache.push(key, remotely(mid));
        return { outcome: report?.outcome ?? "miss" };
      },
    };
  },
  pull() {
    const key = aKey();
    return {
      about: { key },
      async run(mid) {
        const { outcome } = await cache.pull(key, remotely(mid));
        using entry = await local.get(key);
        return { ...entry && look(entry.path, entry), outcome };
      },
    };
  },
  entries: () => ({
    run() {
      const all = cache.entries().map(({ key, id }) => [key, id] as const);
      return Promise.resolve({ all });
    },
  }),
  prune: () => prune({}),
  limit() {
    const limits = [
      { maxEntries: random.below(6) },
      { maxSize: random.below(200_000) },
      { maxAge: 0 },
    ];
    return prune(kinds.length > 0 ? { maxEntries: 0 } : random.one(limits));
  },
  verify: () => ({
    async run() {
      const { archives, damaged } = await cache.verify();
      const wrong = damaged.map((damage) => JSON.stringify(damage));
      return { wrong, count: archives };
    },
  }),
  clear() {
    const defer = kinds.length === 0 && random.below(4) === 0;
    return {
      async run() {
        const options = { wait, defer };
        const { outcome, failures } = await clearCache(root, options);
        const wrong = failures.map((failure) => JSON.stringify(failure));
        return { outcome, wrong };
      },
    };
  },
  rebuild() {
    const all = KEYS.filter(() => random.below(2))
      .map((key) => [key, newVersion()] as const);
    const key = name + count;
    return {
      about: { all },
      async run(mid) {
        const { outcome } = await rebuildCache(root, async (at) => {
          const cache = openCache(at);
          for (const [key, version] of all) {
            await using staging = await cache.stage(key);
            writeTree(staging.path, key, version);
            await staging.commit();
          }
          mid("begun");
        }, { share: key, wait, allowEmpty: true });
        return { outcome };
      },
    };
  },
};

function aKey(): string {
  return only ?? random.one(KEYS);
}

function newVersion(): string {
  return `v-${name}-${count}-${random.below(1e6)}`;
}

/** What is there, and whether it is of the archive that it should be. */
function look(path: string, { key: expected, id }: Archive) {
  const { key, version, wrong } = readContent(path);
  const other = key === expected ? [] : [`${expected} has what ${key} should`];
  return { version, id, wrong: [...wrong, ...other] };
}

/** Tells at once what the remote did. It is always there, and has no reason to refuse. */
function remotely(mid: Tell): CallOptions {
  return {
    onRemote({ outcome, reason }) {
      mid(`remote ${outcome}`);
      if (["hit", "miss", "pushed"].includes(outcome)) return;
      throw new Error(`The remote is ${outcome}: ${reason}`);
    },
  };
}

function put(write: typeof writeTree, isTree: boolean): Task {
  const [key, version] = [aKey(), newVersion()];
  return {
    about: { key, version },
    async run(mid) {
      dir.remove(source);
      if (isTree) Deno.mkdirSync(source);
      write(source, key, version);
      const { id } = await cache.put(key, source, remotely(mid));
      scribble(source); // what was put is a copy
      return { id };
    },
  };
}

function stage(commit: boolean): Task {
  const [key, version] = [aKey(), newVersion()];
  const pause = random.below(10);
  return {
    about: { key, version },
    async run(mid) {
      await using staging = await cache.stage(key);
      writeTree(staging.path, key, version);
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (!commit) return { outcome: "abandoned" };
      mid("begun");
      const { id } = await staging.commit();
      return { id };
    },
  };
}

/** Gets it anew, or in the place of what was got earlier. */
function get(at: string, how: "fresh" | "replace" | "reset"): Task {
  const key = aKey();
  const mode = how === "reset"
    ? "hardlink"
    : random.one(["hardlink", "copy"] as const);
  const ifExists = how === "replace" ? "replace" : "error";
  const keeps = how === "fresh" && random.below(3) === 0;
  const slot = dir.slot(random.one(SLOTS));
  return {
    about: { key },
    async run(mid) {
      using entry = await cache.get(key, remotely(mid));
      if (!entry) return { outcome: "miss" };
      mid("held", { id: entry.id });
      // A tree takes the place of a tree only, a file that of a file.
      const isFile = Deno.lstatSync(entry.path).isFile;
      const link = async (at: string, options: { maxLinks?: number } = {}) => {
        if (how !== "replace" || isFileAt(at) !== isFile) dir.remove(at);
        const all = { mode, ifExists, ...options } as const;
        return isFile
          ? await linkFile(entry.path, at, all)
          : await entry.link(at, all);
      };
      let count = 0;
      if (how === "reset") {
        await link(slot);
        // As if the file system permitted no more links than the slot has now.
        count = Number((await link(at, { maxLinks: 2 })).reset);
      } else await link(at);
      const told = { ...look(at, entry), count };
      if (keeps) {
        dir.remove(slot);
        Deno.renameSync(at, slot);
      } else if (how === "fresh") {
        if (mode === "copy") scribble(at); // it shares nothing
        dir.remove(at);
      }
      return told;
    },
  };
}

function keep(): Task {
  const src = dir.slot(random.one(SLOTS));
  const dst = dir.slot(random.one(SLOTS));
  const mode = random.one(["hardlink", "copy", "remove"] as const);
  return { run: () => dir.keep(src, dst, mode) };
}

function prune(limits: Parameters<typeof cache.prune>[0]): Task {
  return {
    async run() {
      const { evicted, blobs, failures } = await cache.prune(limits);
      const wrong = failures.map((failure) => JSON.stringify(failure));
      const all = evicted.map(({ key, id }) => [key, id] as const);
      return {
        ...{ all, wrong, count: blobs },
        outcome: all.length > 0 ? "evicted" : "done",
      };
    },
  };
}

async function perform(kind: Kind): Promise<void> {
  const n = count++;
  const place = remote && { machine };
  const say = (tell: Line["tell"], told: Told) =>
    writer.write({ process: name, ...place, n, tell, kind, ...told });
  const { about = {}, run } = TASKS[kind]();
  say("begin", about);
  try {
    const told = await run((outcome, more) => say("mid", { outcome, ...more }));
    say("end", { outcome: "done", ...told });
  } catch (error) {
    const wrong = [error instanceof Error ? error.stack! : String(error)];
    say("end", { outcome: "failed", wrong });
  }
}

if (kinds.length > 0) {
  for (const kind of kinds as Kind[]) {
    // What is said of one key is done with each.
    const each = kind === "hold" || kind === "pull";
    for (only of each ? KEYS : [undefined]) await perform(kind);
  }
} else {
  let open = true;
  Deno.stdin.read(new Uint8Array(1)).then(() => open = false);
  while (open) {
    await perform(
      remote ? random.weighted(WEIGHTS_REMOTE) : random.weighted(WEIGHTS),
    );
    // So that nobody is always at it, and everybody's pace differs.
    const pause = hash(`${process} ${count}`) % 8;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
