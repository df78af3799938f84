// Where a fault can be put: which calls, and what may go wrong there.
import type { Call } from "../support/tortured.ts";

/** What a call can answer, and the kinds of error that may come of it. */
export const ERRORS: Record<string, readonly string[]> = {
  EIO: ["io"],
  ENOSPC: ["no-space"],
  EDQUOT: ["no-space"],
  EACCES: ["permission"],
  EMFILE: ["transient", "other"],
  ENOMEM: ["transient", "other"],
  ESTALE: ["stale"],
  // Nothing was done, so it is done again.
  EINTR: [],
};

const READ = [
  ...["getdents64", "open", "openat", "statx", "newfstatat", "stat", "lstat"],
  ...["fstat", "read", "pread64", "readlink", "readlinkat", "close"],
];

const WRITE = [
  ...["write", "pwrite64", "link", "linkat", "rename", "renameat"],
  ...["renameat2", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"],
  ...["symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "fchmodat2"],
  ...["chown", "lchown", "fchown", "fchownat", "utimensat", "fsync"],
  ...["fdatasync", "copy_file_range", "sendfile", "ioctl", "ftruncate"],
  ...["fsetxattr", "lsetxattr", "fremovexattr", "flock", "fcntl"],
];

/** All calls that are watched. */
export const CALLS: readonly string[] = [...READ, ...WRITE];

/** Not a change of the disk. */
const HARMLESS = ["flock", "fcntl", "fsync", "fdatasync"];

/** One place for a fault: the n-th call of that name in a thread. */
export interface Site {
  threads: "main" | "others";
  call: string;
  nth: number;
  fault: string;
}

/** As `REBUILD_CACHE_TORTURE` names it. */
export function nameOf({ threads, call, nth, fault }: Site): string {
  return `${threads}/${call}#${nth}/${fault}`;
}

/** What strace has to be told. */
export function injection({ call, nth, fault }: Site): string {
  const what = fault === "KILL" ? "signal=KILL" : `error=${fault}`;
  return `${call}:${what}:when=${nth}`;
}

/** Whether a call is about something below `at`. */
export function isOurs({ text }: Call, at: string): boolean {
  return text.includes(`${at}/`) || text.includes(`${at}>`) ||
    /"\/proc\/(self|thread-self|\d+)\/fd\//.test(text);
}

/** All places of a run. */
export function sitesOf(calls: readonly Call[], at: string): Site[] {
  const sites = new Map<string, Site>();
  const building = new Set<boolean>();
  for (const call of calls) {
    const { name, text, nth, main } = call;
    if (text.includes('"/torture-mark"')) {
      building[building.has(main) ? "delete" : "add"](main);
      continue;
    }
    if (!isOurs(call, at)) continue;
    const changes = WRITE.includes(name) && !HARMLESS.includes(name) ||
      /O_CREAT|O_TRUNC/.test(text);
    // What `build` throws is its own.
    const faults = building.has(main) ? [] : Object.keys(ERRORS);
    for (const fault of [...changes ? ["KILL"] : [], ...faults]) {
      const threads = main ? "main" as const : "others" as const;
      const site = { threads, call: name, nth, fault };
      sites.set(nameOf(site), site);
    }
  }
  return [...sites.values()];
}

/** Some of them: each call and each fault first, then what chance says. */
export function sample(sites: Site[], many: number, seed: number): Site[] {
  const rest = shuffle(sites, seed);
  const chosen: Site[] = [];
  const seen = new Set<string>();
  for (const site of rest) {
    const kinds = [`${site.threads} ${site.call}`, site.fault];
    if (kinds.every((kind) => seen.has(kind))) continue;
    for (const kind of kinds) seen.add(kind);
    chosen.push(site);
  }
  const others = rest.filter((site) => !chosen.includes(site));
  return [...chosen, ...others].slice(0, Math.max(many, chosen.length));
}

function shuffle<T>(all: readonly T[], seed: number): T[] {
  const shuffled = [...all];
  let state = seed >>> 0 || 1;
  for (let left = shuffled.length; left > 1; left--) {
    // Marsaglia's xorshift.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    const other = state % left;
    [shuffled[left - 1], shuffled[other]] = [
      shuffled[other]!,
      shuffled[left - 1]!,
    ];
  }
  return shuffled;
}
