// What is tortured, and what may come of it.
import { must } from "../support/command.ts";
import { exists } from "../support/until.ts";
import { difference, type Look, look, same } from "../support/snapshot.ts";
import type { Answer, Tortured } from "../support/tortured.ts";

/** One operation, and how to tell whether it went as it should. */
export interface Case {
  name: string;
  /** The operation of torture_target.ts, and its options. */
  op: string;
  options?: object;
  /** Makes what is there before, except `source`. */
  prepare(at: string): Promise<void>;
  /** What is to be looked at. `peer` is a process that nothing happens to. */
  state(at: string, peer: Tortured): Promise<State>;
  /** What is wrong after a run that ended so. */
  judge(is: State, run: Ended): Wrong;
  /** Numbers in the report that are the same whenever nothing failed. */
  counts: readonly string[];
  /** A run takes away something at every time, not always the same. */
  loses?: boolean;
  /** A file of the source gets another inode: its directory's time may tell. */
  resets?: boolean;
  /** Whether it needs a server, which has the source under a key. */
  remote?: boolean;
  /** The name that the clean run afterwards has to find free. */
  free?: string;
}

/** What is wrong, if anything is. */
export type Wrong = string | undefined;

/** Trees by name: `there`, `out`, and what the keys of a cache hold. */
export type State = Record<string, Look>;

/** How a run ended. */
export interface Ended {
  before: State;
  /** What a run without a fault leaves. */
  after: State;
  /** `killed`; `failed`: an error; `reported`: done, except for what it lists; `done`. */
  how: "killed" | "failed" | "reported" | "done";
}

/** Whether a report lists something that could not be done. */
export function listsFailures({ done }: Answer): boolean {
  const report = (done ?? {}) as Record<string, unknown>;
  return ["asides", "failures", "failed", "notRead"]
    .some((name) => Array.isArray(report[name]) && report[name].length > 0) ||
    Number(report.inUse) > 0;
}

/** A tree at `there`: the old, the new, or, where that may be, nothing. */
function tree(
  name: string,
  op: string,
  options: object,
  there?: "old" | "old file",
): Case {
  return {
    name,
    op,
    options,
    counts: [
      ...["cloned", "hardlinked", "symlinked", "copied", "created", "links"],
      ...["directories", "mode", "outcome"],
    ],
    async prepare(at) {
      if (there === "old file") Deno.writeTextFileSync(`${at}/there`, "old");
      else if (there) await must("cp", "-a", `${at}/template`, `${at}/there`);
    },
    // deno-lint-ignore require-await
    async state(at) {
      return { there: look(`${at}/there`) };
    },
    judge(is, { before, after, how }) {
      if (how === "done" || how === "reported") {
        const wrong = difference(is.there!, after.there!);
        return wrong && `it is not as the report says: ${wrong}`;
      }
      if (same(is.there!, before.there!) || same(is.there!, after.there!)) {
        return undefined;
      }
      // Only who clears may fail with nothing there.
      const absent = Object.keys(is.there!).length === 0;
      if (absent && (how === "killed" || op === "clear")) return undefined;
      return `neither old nor new: ${difference(is.there!, before.there!)}`;
    },
    ...there ? {} : { free: "there" },
  };
}

/**
 * A file that can't be linked to is copied, which the report counts: one is as good as
 * the other here. (An empty one is counted as made.)
 */
const symlinked: Case = {
  ...tree("link symlink", "link", { mode: "symlink" }),
  counts: ["links", "directories", "outcome"],
  // deno-lint-ignore require-await
  async state(at) {
    const there = look(`${at}/there`);
    const source = look(`${at}/source`);
    for (const [path, what] of Object.entries(there)) {
      if (what === `777 to ${at}/source/${path}`) there[path] = source[path]!;
    }
    return { there };
  },
};

/** Each entry is the old or the new one. */
const merge: Case = {
  ...tree("merge", "link", { mode: "copy", ifExists: "merge" }, "old"),
  judge(is, { before, after, how }) {
    // A directory that is being filled has not the mode yet that it will have.
    const plain = (trees: State) =>
      Object.fromEntries(
        Object.entries(trees.there!).map(([path, what]) => [
          path,
          what.replace(/^\d+ directory$/, "directory"),
        ]),
      );
    const [found, old, now] = [plain(is), plain(before), plain(after)];
    if (how === "done") return difference(found, now);
    for (const path of Object.keys({ ...found, ...old })) {
      // What a kill leaves until the next run.
      if (how === "killed" && /\.partial-/.test(path)) continue;
      if (found[path] === old[path] || found[path] === now[path]) continue;
      return `"${path}" is neither old nor new: ${found[path]}`;
    }
    return undefined;
  },
};

/** What is at the top is there, wholly, or not at all. */
export const inPlace: Case = {
  ...tree("clear in place", "clear", {}, "old"),
  async prepare(at) {
    await must("cp", "-a", `${at}/template/.`, `${at}/there`);
  },
  judge(is, { before, after, how }) {
    if (how === "done") return difference(is.there!, after.there!);
    const tops = new Set<string>();
    for (const path of Object.keys(is.there!)) {
      const top = path.split("/")[0]!;
      if (path && !/^\.stale-/.test(top)) tops.add(top);
    }
    for (const [path, what] of Object.entries(before.there!)) {
      const [top] = path.split("/");
      if (!tops.has(top!) || is.there![path] === what) continue;
      return `"${path}" is neither there nor gone: ${is.there![path]}`;
    }
    return undefined;
  },
};

/** A cache: each key is a miss, the old or the new, `out` is whole or absent. */
function cache(
  name: string,
  op: string,
  options: object,
  template: string,
  { counts = [], mayMiss = [] }: { counts?: string[]; mayMiss?: string[] } = {},
): Case {
  return {
    name,
    op,
    options,
    counts,
    async prepare(at) {
      await must("cp", "-a", `${at}/${template}`, `${at}/there`);
    },
    async state(at, peer) {
      const answer = await peer.ask(["where", at]);
      const where = answer?.done as Record<string, string> | undefined;
      if (!where) {
        throw new Error(`It can't be read: ${answer?.error?.message}`);
      }
      const keys = Object.entries(where).map((
        [key, path],
      ) => [key, look(path)]);
      return { out: look(`${at}/out`), ...Object.fromEntries(keys) };
    },
    judge(is, { before, after, how }) {
      for (const what of Object.keys({ ...before, ...after })) {
        const found = is[what] ?? {};
        const wrong = difference(found, after[what] ?? {});
        if (!wrong) continue;
        if (how === "done") {
          return `${what} is not as the report says: ${wrong}`;
        }
        if (same(found, before[what] ?? {})) continue;
        if (mayMiss.includes(what) && Object.keys(found).length === 0) continue;
        return `${what} is neither old nor new: ${wrong}`;
      }
      return undefined;
    },
    free: "out",
  };
}

/** A cache that gives what it has to a remote: all of it is there, or it is a miss. */
const push: Case = {
  ...cache("push", "push", {}, "cache"),
  counts: ["outcome"],
  async prepare(at) {
    await must("cp", "-a", `${at}/cache`, `${at}/there`);
    for (const folder of ["ac", "cas"]) {
      const path = `${at}.remote/${folder}`;
      for (const { name } of Deno.readDirSync(path)) {
        Deno.removeSync(`${path}/${name}`);
      }
    }
  },
  async state(at, peer) {
    const { key } = (await peer.ask(["remote", at]))?.done as { key?: string };
    const found = key === undefined ? {} : look(key);
    for (const name of ["elsewhere", "elsewhere.lock"]) {
      if (!exists(`${at}/${name}`)) continue;
      Deno.removeSync(`${at}/${name}`, { recursive: true });
    }
    return { remote: found };
  },
};

/** Of a link, by the mode. */
const LINKS = [
  "cloned",
  "hardlinked",
  "copied",
  "created",
  "links",
  "directories",
];

/** What a temporary directory can do. */
export const CASES: Case[] = [
  tree("clear", "clear", {}, "old"),
  // Where nothing is left whose mode could be kept, the next has its own.
  { ...tree("recreate", "clear", { recreate: true }, "old"), loses: true },
  tree("rebuild", "rebuild", {}, "old"),
  tree("link hardlink", "link", { mode: "hardlink" }),
  symlinked,
  tree("link copy", "link", { mode: "copy" }),
  tree("link auto", "link", { mode: "auto" }),
  merge,
  tree("replace", "link", { mode: "hardlink", ifExists: "replace" }, "old"),
  {
    ...tree("reset", "link", { mode: "hardlink", maxLinks: 2 }),
    resets: true,
    // deno-lint-ignore require-await
    async prepare(at) {
      Deno.linkSync(`${at}/source/b/three`, `${at}/extra`);
    },
  },
  tree("link a file", "file", { mode: "hardlink" }),
  tree("replace a file", "file", {
    mode: "copy",
    ifExists: "replace",
  }, "old file"),
  cache("put", "put", {}, "cache-old"),
  cache("get", "get", { mode: "hardlink" }, "cache", { counts: LINKS }),
  cache("ensure", "ensure", { mode: "copy" }, "cache-without", {
    counts: ["built", ...LINKS],
  }),
  {
    ...cache("prune", "prune", { maxEntries: 1 }, "cache", {
      counts: ["evicted"],
    }),
    loses: true,
  },
  {
    ...cache("pull", "pull", {}, "cache-without", { counts: ["outcome"] }),
    remote: true,
  },
  { ...push, remote: true },
  cache("verify", "verify", {}, "cache", { counts: ["archives", "damaged"] }),
  cache("verify what is damaged", "verify", {}, "cache-damaged", {
    counts: ["archives", "damaged"],
    mayMiss: ["key"],
  }),
];

/** What needs a file system that clones. */
export const CLONE: Case[] = [
  tree("link clone", "link", { mode: "clone", strict: true }),
  cache("put by clones", "put", {}, "cache-old"),
];
