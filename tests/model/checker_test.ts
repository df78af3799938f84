// The checker must find what is wrong, and nothing else: a checker that never fails is
// worth nothing.
import { assert, assertEquals } from "@std/assert";
import { check, type Violation } from "../support/model.ts";
import { historyOf } from "../support/model_history.ts";
import {
  type Line,
  LogReader,
  LogWriter,
  operationsOf,
} from "../support/model_log.ts";
import { TempDir } from "../support/temp_dir.ts";

type Told = Partial<Line>;

/** A log, line by line: `b` begins an operation, `m` tells of it, `e` ends it. */
function log(...lines: [what: string, told?: Told][]): Violation[] {
  const kinds = new Map<string, string>();
  const counts = new Map<string, number>();
  const all = lines.map(([what, told]): Line => {
    const [tell, process = ""] = what.split(" ");
    if (tell === "died") return { process, n: -1, tell: "mid", kind: "died" };
    if (told?.kind) kinds.set(process, told.kind);
    if (tell === "b") counts.set(process, (counts.get(process) ?? 0) + 1);
    const n = counts.get(process) ?? 0;
    const word = ({ b: "begin", m: "mid", e: "end" } as const)[tell!]!;
    return { process, n, kind: kinds.get(process)!, tell: word, ...told };
  });
  return check(historyOf(operationsOf(all), ["k", "other"], ["blob-0"]));
}

const kindsOf = (found: readonly Violation[]) => found.map(({ kind }) => kind);

const put = (process: string, version: string, key = "k") =>
  [
    [`b ${process}`, { kind: "put", key, version }],
    [`e ${process}`, { outcome: "done", id: `id of ${version}` }],
  ] satisfies [string, Told][];
const get = (process: string, version: string, key = "k") =>
  [
    [`b ${process}`, { kind: "get", key }],
    [`e ${process}`, { outcome: "done", version }],
  ] satisfies [string, Told][];
const miss = (process: string, key = "k") =>
  [
    [`b ${process}`, { kind: "get", key }],
    [`e ${process}`, { outcome: "miss" }],
  ] satisfies [string, Told][];
const clear = (process: string, outcome = "cleared") =>
  [
    [`b ${process}`, { kind: "clear" }],
    [`e ${process}`, { outcome }],
  ] satisfies [string, Told][];

/** One on a machine does something, and the remote answers. */
const ask = (machine: string, begin: Told, answer: string, end: Told = {}) =>
  [
    [`b ${machine}`, { machine, key: "k", ...begin }],
    [`m ${machine}`, { outcome: `remote ${answer}` }],
    [`e ${machine}`, { outcome: "done", ...end }],
  ] satisfies [string, Told][];
const share = (machine: string, version: string) =>
  ask(machine, { kind: "put", version }, "pushed");
const push = (machine: string) => ask(machine, { kind: "push" }, "pushed");
const pull = (machine: string, version: string) =>
  ask(machine, { kind: "pull" }, "hit", { version });
const fetch = (machine: string, version: string) =>
  ask(machine, { kind: "get" }, "hit", { version });
/** As above, with nothing said of a remote. */
const on = (machine: string, lines: [string, Told][]): [string, Told][] =>
  lines.map(([what, told]) => [what, { machine, ...told }]);
const forget = () =>
  [
    ["b remote", { kind: "forget" }],
    ["e remote", { outcome: "done" }],
  ] satisfies [string, Told][];

const FINE: Record<string, Violation[]> = {
  "a miss before a put": log(...miss("1"), ...put("2", "v")),
  "a get after a put": log(...put("1", "v"), ...get("2", "v")),
  "the old one while the new one is put": log(
    ...put("1", "old"),
    put("2", "new")[0]!,
    ...get("3", "old"),
    ...get("4", "new"),
    put("2", "new")[1]!,
  ),
  "a miss after a clear": log(...put("1", "v"), ...clear("2"), ...miss("3")),
  "a miss and a hit while it is cleared": log(
    ...put("1", "v"),
    clear("2")[0]!,
    ...get("3", "v"),
    ...miss("4"),
    clear("2")[1]!,
  ),
  "a miss of what a prune has named": log(
    ...put("1", "v"),
    ["b 2", { kind: "limit" }],
    ["e 2", { outcome: "evicted", all: [["k", "id of v"]] }],
    ...miss("3"),
  ),
  "what a killed put may have put": log(
    ["b 1", { kind: "put", key: "k", version: "v" }],
    ["died 1"],
    ...get("2", "v"),
  ),
  "what a killed put may not have put": log(
    ["b 1", { kind: "put", key: "k", version: "v" }],
    ["died 1"],
    ...miss("2"),
  ),
  "a miss after a killed clear": log(
    ...put("1", "v"),
    ["b 2", { kind: "clear" }],
    ["died 2"],
    ...miss("3"),
  ),
  "a key that a listing passes by while it is put": log(
    ...put("1", "old"),
    ["b 2", { kind: "entries" }],
    ...put("3", "new"),
    ["e 2", { outcome: "done", all: [] }],
  ),
  "two that end together, in either order": log(
    put("1", "a")[0]!,
    put("2", "b")[0]!,
    put("1", "a")[1]!,
    put("2", "b")[1]!,
    ...get("3", "a"),
  ),
  "what the remote has of a key that was cleared": log(
    ...share("a", "v"),
    ...on("a", clear("1")),
    ...fetch("a", "v"),
  ),
  "an older version that a pull brings": log(
    ...share("a", "old"),
    ...on("a", put("1", "new")),
    ...pull("a", "old"),
    ...on("a", get("2", "old")),
  ),
  "what one machine pushes and another one pulls": log(
    ...on("a", put("1", "v")),
    ...push("a"),
    ...fetch("b", "v"),
    ...push("b"),
    ...pull("a", "v"),
  ),
  "either of two that are pushed together": log(
    share("a", "v")[0]!,
    ...share("b", "w"),
    ...share("a", "v").slice(1),
    ...pull("a", "w"),
    ...pull("b", "w"),
  ),
  "what a killed push has sent, when it arrives": log(
    ...on("a", put("1", "v")),
    ["b a", { machine: "a", kind: "push", key: "k" }],
    ["died a"],
    ...ask("b", { kind: "get" }, "miss", { outcome: "miss" }),
    ...fetch("b", "v"),
  ),
  "a miss of what the remote has forgotten": log(
    ...share("a", "v"),
    ...forget(),
    ...ask("b", { kind: "get" }, "miss", { outcome: "miss" }),
  ),
};

for (const [what, found] of Object.entries(FINE)) {
  Deno.test(`check() permits ${what}`, () => {
    assertEquals(found, []);
  });
}

const WRONG: Record<string, [Violation["kind"], Violation[]]> = {
  "a key that nobody has removed": [
    "lost",
    log(...put("1", "v"), ...miss("2")),
  ],
  "a key that was put after the clear": [
    "lost",
    log(...clear("1"), ...put("2", "v"), ...miss("3")),
  ],
  "a key that was put after a killed clear died": [
    "lost",
    log(
      ["b 1", { kind: "clear" }],
      ["died 1"],
      ...put("2", "v"),
      ...miss("3"),
    ),
  ],
  "a key that a prune removed and did not name": [
    "lost",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "limit" }],
      ["e 2", { outcome: "evicted", all: [["other", "id of other"]] }],
      ...miss("3"),
    ),
  ],
  "a key that a killed prune without limits removed": [
    "lost",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "prune" }],
      ["died 2"],
      ...miss("3"),
    ),
  ],
  "a key that is not listed": [
    "lost",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "entries" }],
      ["e 2", { outcome: "done", all: [] }],
    ),
  ],
  "a key that goes and comes back": [
    "lost",
    log(
      put("1", "v")[0]!,
      ...get("2", "v"),
      ...miss("3"),
      ...get("4", "v"),
      put("1", "v")[1]!,
    ),
  ],
  "a key that an ensure builds once more": [
    "lost",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "ensure", key: "k" }],
      ["m 2", { outcome: "building", version: "w" }],
      ["e 2", { outcome: "built", version: "w" }],
    ),
  ],
  "a blob that is fetched once more": [
    "lost",
    log(
      ["b 1", { kind: "blob", key: "blob-0" }],
      ["m 1", { outcome: "fetching" }],
      ["e 1", { outcome: "fetched" }],
      ["b 2", { kind: "blob", key: "blob-0" }],
      ["m 2", { outcome: "fetching" }],
      ["e 2", { outcome: "fetched" }],
    ),
  ],
  "a version that another has replaced": [
    "stale",
    log(...put("1", "old"), ...put("2", "new"), ...get("3", "old")),
  ],
  "a version that was cleared": [
    "stale",
    log(...put("1", "v"), ...clear("2"), ...get("3", "v")),
  ],
  "a version that a rebuild has replaced": [
    "stale",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "rebuild", all: [] }],
      ["m 2", { outcome: "begun" }],
      ["e 2", { outcome: "rebuilt" }],
      ...get("3", "v"),
    ),
  ],
  "a version that a prune has evicted": [
    "stale",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "limit" }],
      ["e 2", { outcome: "evicted", all: [["k", "id of v"]] }],
      ...get("3", "v"),
    ),
  ],
  "the new one, then the old one": [
    "stale",
    log(
      ...put("1", "old"),
      put("2", "new")[0]!,
      ...get("3", "new"),
      ...get("4", "old"),
      put("2", "new")[1]!,
    ),
  ],
  "two killed puts by turns": [
    "stale",
    log(
      put("1", "a")[0]!,
      put("2", "b")[0]!,
      ...get("3", "a"),
      ...get("4", "b"),
      ...get("5", "a"),
      ["died 1"],
      ["died 2"],
    ),
  ],
  "a blob that was cleared": [
    "stale",
    log(
      ["b 1", { kind: "blob", key: "blob-0" }],
      ["m 1", { outcome: "fetching" }],
      ["e 1", { outcome: "fetched" }],
      ...clear("2"),
      ["b 3", { kind: "blob", key: "blob-0" }],
      ["e 3", { outcome: "hit" }],
    ),
  ],
  "a version that nobody has put": ["foreign", log(...get("1", "v"))],
  "a version that is put later": [
    "foreign",
    log(...get("1", "v"), ...put("2", "v")),
  ],
  "a version that was put under another key": [
    "foreign",
    log(...put("1", "v", "other"), ...get("2", "v")),
  ],
  "a version that was given up": [
    "foreign",
    log(
      ["b 1", { kind: "abandon", key: "k", version: "v" }],
      ["e 1", { outcome: "abandoned" }],
      ...get("2", "v"),
    ),
  ],
  "bytes of another version": [
    "foreign",
    log(
      ...put("1", "v"),
      ["b 2", { kind: "get", key: "k" }],
      ["e 2", { outcome: "done", version: "v", wrong: ["f0: other"] }],
    ),
  ],
  "an archive with two contents": [
    "foreign",
    log(
      ["b 1", { kind: "put", key: "k", version: "v" }],
      ["e 1", { outcome: "done", id: "id" }],
      ["b 2", { kind: "put", key: "other", version: "w" }],
      ["e 2", { outcome: "done", id: "id" }],
    ),
  ],
  "a pull of what nobody had pushed": [
    "foreign",
    log(...on("a", put("1", "v")), ...pull("b", "v").slice(0, 2)),
  ],
  "a pull of what was pushed under another key": [
    "foreign",
    log(
      ...ask("a", { kind: "put", version: "w", key: "other" }, "pushed"),
      ...share("a", "v"),
      ...pull("b", "w"),
    ),
  ],
  "a version that was never pushed, after a pull": [
    "foreign",
    log(
      ...share("a", "old"),
      ...on("a", put("1", "new")),
      ...pull("b", "old"),
      ...on("b", get("2", "new")),
    ),
  ],
  "a version that a later push has replaced at the remote": [
    "foreign",
    log(...share("a", "old"), ...share("a", "new"), ...pull("b", "old")),
  ],
  "what a killed push could not have sent": [
    "foreign",
    log(
      ...on("a", put("1", "v")),
      ["b a", { machine: "a", kind: "push", key: "k" }],
      ["died a"],
      ...on("a", put("1", "w")),
      ...fetch("b", "w"),
    ),
  ],
  "a version that a pull has replaced": [
    "stale",
    log(
      ...share("a", "old"),
      ...on("a", put("1", "new")),
      ...pull("a", "old"),
      ...on("a", get("2", "new")),
    ),
  ],
  "a key that was pulled": [
    "lost",
    log(...share("a", "v"), ...pull("b", "v"), ...on("b", miss("1"))),
  ],
  "a key that is asked of the remote although it is here": [
    "lost",
    log(...share("a", "v"), ...fetch("a", "v")),
  ],
  "a key that was pushed": [
    "lost",
    log(
      ...share("a", "v"),
      ...ask("b", { kind: "get" }, "miss", { outcome: "miss" }),
    ),
  ],
  "an operation that fails": [
    "failed",
    log(["b 1", { kind: "verify" }], [
      "e 1",
      { outcome: "failed", wrong: ["Error"] },
    ]),
  ],
};

for (const [what, [kind, found]] of Object.entries(WRONG)) {
  Deno.test(`check() finds ${what} to be ${kind}`, () => {
    assertEquals(kindsOf(found), [kind]);
  });
}

Deno.test("LogReader reads whole lines only, and counts torn ones", async () => {
  await using dir = TempDir.make();
  const path = dir.at("log");
  using reader = new LogReader(path);
  const line = { process: "0.0", n: 0, tell: "begin", kind: "get" } as const;
  {
    using writer = new LogWriter(path);
    writer.write(line);
  }
  assertEquals(reader.read(), [line]);
  Deno.writeTextFileSync(path, '\n{"process":"1.0","n', { append: true });
  assertEquals(reader.read(), []);
  {
    using writer = new LogWriter(path);
    writer.write(line);
  }
  assertEquals(reader.read(), [line]);
  assertEquals(reader.torn, 1);
});

Deno.test("LogWriter gives lines of several writers one order", async () => {
  await using dir = TempDir.make();
  const path = dir.at("log");
  using one = new LogWriter(path);
  using other = new LogWriter(path);
  using reader = new LogReader(path);
  for (let n = 0; n < 100; n++) {
    const writer = n % 2 ? one : other;
    writer.write({ process: `${n % 2}`, n, tell: "begin", kind: "get" });
  }
  const found = reader.read();
  assert(found.every(({ n }, i) => n === i));
  assertEquals(found.length, 100);
});
