/** What the processes of the model do, and with what. */

/** The keys that they put and get. */
export const KEYS: readonly string[] = Array.from(
  { length: 8 },
  (_, i) => `key-${i}`,
);

/** The blobs that they fetch. */
export const BLOBS: readonly string[] = ["blob-0", "blob-1", "blob-2"];

/** Where a process keeps what it got. */
export const SLOTS: readonly string[] = ["slot-0", "slot-1", "slot-2"];

/** What they do, and how often. */
export const WEIGHTS = {
  put: 8,
  "put file": 5,
  stage: 8,
  abandon: 2,
  ensure: 12,
  get: 15,
  replace: 7,
  reset: 5,
  hold: 7,
  keep: 8,
  blob: 8,
  entries: 5,
  prune: 3,
  limit: 3,
  verify: 3,
  clear: 1.2,
  rebuild: 1.2,
} as const;

/** The same where there is a remote: more is taken away, so that it is pulled. */
export const WEIGHTS_REMOTE = {
  ...{ ...WEIGHTS, limit: 6 },
  ...{ push: 8, pull: 8 },
} as const;

/** What a run must have seen: it goes on until then. */
export const MUST: readonly string[] = [
  ...["put done", "put file done", "stage done", "abandon abandoned"],
  ...["ensure built", "ensure hit", "get done", "get miss"],
  ...["replace done", "replace miss", "hold done", "hold miss"],
  ...["keep linked", "keep removed", "blob fetched", "blob hit"],
  ...["entries done", "prune done", "limit evicted"],
  ...["reset done", "verify done", "clear cleared", "rebuild rebuilt"],
];

/** What must have been killed in its middle, too, where processes are killed. */
export const KILLED: readonly string[] = [
  ...["put", "put file", "stage", "ensure", "get", "replace", "reset", "blob"],
  ...["prune", "limit", "verify", "clear", "rebuild"],
];

/** The same where there is a remote, with which little is a miss. */
export const MUST_REMOTE: readonly string[] = [
  ...MUST.filter((what) => !what.endsWith(" miss")),
  ...["push pushed", "push miss", "pull hit", "pull miss", "get miss"],
  ...["get remote hit", "ensure remote hit", "ensure remote pushed"],
  ...["put remote pushed", "put file remote pushed"],
];

/** The same where there is a remote. */
export const KILLED_REMOTE: readonly string[] = [...KILLED, "push", "pull"];
