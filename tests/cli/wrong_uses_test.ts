// Whatever is wrong about a command line: one line, the right exit code, one JSON
// object, and nothing is touched.
import { assert, assertEquals } from "@std/assert";
import {
  cliCommand,
  denoRun,
  type Ran,
  run,
  runAsNobody,
  runCli,
} from "../support/command.ts";
import { test } from "../support/needs.ts";
import { difference, type Look, look } from "../support/snapshot.ts";
import { TempDir } from "../support/temp_dir.ts";

/** A wrong use: what is said, and, behind it, what is typed. */
type Wrong = readonly [code: number, word: string | RegExp, ...args: string[]];

const RUN = ["--", "touch", "ran"];

/** What is in the working directory. `store` is a cache with keys. */
const TREE = {
  cache: { a: "content", sub: { b: "more" } },
  other: { file: "precious" },
  file: "not a directory",
  src: { a: "content" },
};

/** What each command is given, so that only one thing is wrong. */
const KEYED: Readonly<Record<string, readonly string[]>> = {
  put: ["key", "src"],
  get: ["known", "out"],
  ensure: ["known", "out"],
  rm: ["known"],
  ls: [],
  stats: [],
  prune: [],
  verify: [],
};

const BEHIND = (command: string) => command === "ensure" ? RUN : [];
const STORE = ["--dir", "store"];

/** The same mistake with every command on a cache with keys. */
const ofEachKeyed: Wrong[] = Object.entries(KEYED).flatMap(
  ([name, words]): Wrong[] => {
    const behind = BEHIND(name);
    const call = (...flags: string[]) => [name, ...flags, ...words, ...behind];
    return [
      [2, "--dir needs a value", ...call("--dir=")],
      [2, "--dir was given 2 times", ...call(...STORE, ...STORE)],
      [2, "begins with a ~", ...call("--dir=~/store")],
      [2, "did you mean --dir?", ...call("--dri", "store")],
      [2, "Unknown flag --no-such", ...call(...STORE, "--no-such=1")],
      [2, "Unknown flag -x", ...call(...STORE, "-x")],
      [2, "--quiet takes no value", ...call(...STORE, "--quiet=1")],
      [2, "--recreate is a flag of clear", ...call(...STORE, "--recreate")],
      [
        2,
        name === "rm"
          ? "KEY is missing"
          : words.length > 0
          ? "one word too many"
          : `${name} takes no words`,
        ...name === "rm"
          ? [name, ...STORE]
          : [name, ...words, "more", ...words.length > 0 ? STORE : []],
        ...behind,
      ],
      [1, /(not a|no) directory/i, ...call("--dir", "file")],
    ];
  },
);

/** The same mistake with every command that takes locks. */
const ofEachLocking: Wrong[] = [
  ["clear", "cache"],
  ["rebuild", "cache", ...RUN],
  ["use", "cache", ...RUN],
  ["link", "src", "out"],
  ["put", ...STORE, "key", "src"],
  ["get", ...STORE, "known", "out"],
  ["ensure", ...STORE, "new", "out", ...RUN],
  ["prune", ...STORE],
  ["verify", ...STORE],
].flatMap(([name, ...rest]): Wrong[] => [
  [2, "--wait takes a number of seconds", name!, "--wait", "soon", ...rest],
  [2, "--if-busy can't be", name!, "--if-busy", "cry", ...rest],
  [2, "makes no sense", name!, "--wait=1", "--if-busy=skip", ...rest],
]);

/** The same mistake with every command that links. */
const ofEachLinking: Wrong[] = [
  ["link", "src", "out"],
  ["get", ...STORE, "known", "out"],
  ["get", ...STORE, "missing", "out"],
  ["ensure", ...STORE, "new", "out", ...RUN],
].flatMap(([name, ...rest]): Wrong[] => [
  [2, "--max-links takes a whole", name!, "--max-links", "abc", ...rest],
  [2, "--jobs takes a whole number from 1", name!, "--jobs", "0", ...rest],
  [2, "did you mean hardlink?", name!, "--mode", "hard", ...rest],
  [2, "--if-exists can't be", name!, "--if-exists", "keep", ...rest],
  [2, "--on-link-limit can't be", name!, "--on-link-limit", "x", ...rest],
  [2, "--mutable needs a value", name!, "--mutable=", ...rest],
]);

const WRONG: readonly Wrong[] = [
  ...ofEachKeyed,
  ...ofEachLocking,
  ...ofEachLinking,
  // No command, or none that is known.
  [2, "No --dir was given, and no command"],
  [2, "No --dir was given, and no command", "-q"],
  [2, "did you mean link?", "liink", "src", "out"],
  [2, "did you mean clear?", "clean", "cache"],
  [2, "did you mean ls?", "list", ...STORE],
  [2, '"cache" is not a command', "cache"],
  [2, '"./cache" is not a command', "./cache"],
  [2, '"~/x" is not a command', "~/x"],
  [2, '"" is not a command', ""],
  [2, "ls comes first", "--dir", "store", "ls"],
  [2, "did you mean link?", "help", "liink"],
  [2, "one word too many", "help", "link", "put"],
  [2, "one word too many", "version", "please"],
  [2, "one word too many", "man", "rebuild-cache"],
  [2, "SHELL is missing", "completions"],
  [2, "SHELL can't be", "completions", "tcsh"],
  [2, "one word too many", "completions", "bash", "zsh"],
  // clear
  [2, "DIR is missing", "clear"],
  [2, "--dir needs a value", "clear", "--dir="],
  [2, "--dir needs a value", "--dir"],
  [2, "--dir needs a value", "--dir", "--dry-run"],
  [2, "--dir needs a value", "--dir", ""],
  [2, "No --dir was given", "--dry-run"],
  [2, 'DIR "~/x" begins with a ~', "clear", "~/x"],
  [2, '--dir "~" begins with a ~', "--dir=~"],
  [2, "begins with a ~", "clear", "cache", "~nobody/x"],
  [2, "one word too many", "clear", "--dir", "cache", "other"],
  [2, '"other" is not understood', "--dir", "cache", "other"],
  [2, "clear runs no command", "clear", "cache", ...RUN],
  [2, "--in-place is a flag of rebuild", "--dir", "cache", "--in-place"],
  [2, "--share is a flag of rebuild", "clear", "cache", "--share=x"],
  [
    2,
    "--max-age is a flag of put, ensure, prune",
    "clear",
    "cache",
    "--max-age",
    "1d",
  ],
  [2, "did you mean --dry-run?", "clear", "cache", "--dryrun"],
  [2, "--recreate takes no value", "clear", "cache", "--recreate=yes"],
  [2, "not a directory", "clear", "cache", "file"],
  [2, "root of a file system", "clear", "cache", "/"],
  [2, "working directory", "clear", "cache", "."],
  [2, "working directory", "--dir", "..", "--dir", "cache"],
  // rebuild
  [2, "There is no --", "rebuild", "cache", "touch", "ran"],
  [2, "There is no --", "rebuild", "cache"],
  [2, "There is no command behind", "rebuild", "cache", "--"],
  [2, "There is no command behind", "rebuild", "cache", "--", ""],
  [2, "DIR is missing", "rebuild", ...RUN],
  [2, "No --dir was given", ...RUN],
  [2, "one word too many", "rebuild", "cache", "other", ...RUN],
  [2, "given 2 times", "--dir=cache", "--dir=other", ...RUN],
  [2, "stands behind --", "--dir", "cache", "other", ...RUN],
  [
    2,
    "--recreate is a flag of clear",
    "rebuild",
    "cache",
    "--recreate",
    ...RUN,
  ],
  [2, "--background is a flag", "--dir", "cache", "--background", ...RUN],
  [2, "begins with a ~", "rebuild", "~/x", ...RUN],
  [2, "not a directory", "rebuild", "file", ...RUN],
  [2, "root of a file system", "--dir", "/", ...RUN],
  [
    127,
    "there is no such command",
    "rebuild",
    "cache",
    "--",
    "no-such-command",
  ],
  [126, "Cannot run", "rebuild", "cache", "--", "./file"],
  // use
  [2, "There is no --", "use", "cache", "touch", "ran"],
  [2, "There is no command behind", "use", "cache", "--"],
  [2, "DIR is missing", "use", ...RUN],
  [2, "one word too many", "use", "--dir", "cache", "other", ...RUN],
  [2, "begins with a ~", "use", "~/x", ...RUN],
  [127, "there is no such command", "use", "cache", "--", "no-such-command"],
  // link
  [2, "SRC is missing", "link"],
  [2, "DST is missing", "link", "src"],
  [2, "SRC is empty", "link", "", "out"],
  [2, "one word too many", "link", "src", "out", "more"],
  [2, "--dir is a flag of", "link", "--dir", "src", "out"],
  [2, "begins with a ~", "link", "~/src", "out"],
  [2, "begins with a ~", "link", "src", "~/out"],
  [2, "did you mean --exclude?", "link", "src", "out", "--exclud", "x"],
  [1, "no-such", "link", "no-such", "out"],
  [1, "other", "link", "src", "other"],
  [1, "file", "link", "src", "file/out"],
  [2, "src", "link", "src", "src/out"],
  // put, get, ensure
  [2, "KEY is missing", "put", ...STORE],
  [2, "SRC is missing", "put", ...STORE, "key"],
  [2, "KEY is empty", "put", ...STORE, "", "src"],
  [2, "Unknown flag -k", "put", ...STORE, "-k", "src"],
  [2, "begins with a ~", "put", ...STORE, "key", "~/src"],
  [1, "no-such", "put", ...STORE, "key", "no-such"],
  [2, "bucket", "put", ...STORE, "--bucket", "../x", "key", "src"],
  [2, "--bucket needs a value", "put", ...STORE, "--bucket=", "key", "src"],
  [2, "--mode is a flag of", "put", ...STORE, "--mode=copy", "key", "src"],
  [2, "DST is missing", "get", ...STORE, "known"],
  [2, "KEY is empty", "get", ...STORE, "", "out"],
  [2, "begins with a ~", "get", ...STORE, "known", "~/out"],
  [4, '"missing" is not in the cache', "get", ...STORE, "missing", "out"],
  [1, "other", "get", ...STORE, "known", "other"],
  [2, "is not a cache with keys", "get", "--dir", "other", "known", "out"],
  [2, "There is no --", "ensure", ...STORE, "new", "out"],
  [2, "DST is missing", "ensure", ...STORE, "new", ...RUN],
  [2, "KEY is missing", "ensure", ...STORE, ...RUN],
  [2, "begins with a ~", "ensure", ...STORE, "new", "~/out", ...RUN],
  [1, "other", "ensure", ...STORE, "new", "other", ...RUN],
  [
    1,
    "does not exist",
    "ensure",
    ...STORE,
    "--if-exists=error",
    "new",
    "no/out",
    ...RUN,
  ],
  // ls, prune, verify, doctor
  [1, "There is no cache at", "ls", "--dir", "typo"],
  [2, "is not a cache with keys", "ls", "--dir", "other"],
  [1, "There is no cache at", "verify", "--dir", "typo"],
  [2, "is not a cache with keys", "verify", "--dir", "other"],
  [2, "is not a cache with keys", "prune", "--dir", "other"],
  [2, "--max-age takes an age", "prune", ...STORE, "--max-age", "3 years"],
  [2, "--max-size takes a size", "prune", ...STORE, "--max-size=-1"],
  [2, "Unknown flag -1", "prune", ...STORE, "--max-size", "-1"],
  [2, "--max-entries takes", "prune", ...STORE, "--max-entries", "few"],
  [2, "takes DIR, or --remote URL", "doctor"],
  [2, "one word too many", "doctor", "src", "other", "cache"],
  [2, "--links takes a whole number", "doctor", "src", "--links", "many"],
  [2, "begins with a ~", "doctor", "~/x"],
  [1, "no-such", "doctor", "no-such"],
];

/** Several processes at a time. */
async function inTurns<T>(
  all: readonly T[],
  each: (one: T) => Promise<void>,
): Promise<void> {
  const turns = all.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const one of turns) await each(one);
    }),
  );
}

/** What is wrong with how it ended; nothing, if it is as it should be. */
function complaint(
  [code, word]: Wrong,
  { code: ended, stdout, stderr }: Ran,
): string | undefined {
  const lines = stderr.trimEnd().split("\n");
  const [line] = lines as [string];
  const isSaid = typeof word === "string"
    ? line.includes(word)
    : word.test(line);
  if (ended !== code) return `exit code ${ended}, not ${code}`;
  if (lines.length !== 1) return `${lines.length} lines`;
  if (!line.startsWith("rebuild-cache: ")) return "no line of ours";
  if (/Unexpected: |\bat file:|undefined/.test(line)) return "a slip of ours";
  if (!isSaid) return `nothing of "${word}"`;
  try {
    const { version, error, result } = JSON.parse(stdout);
    const isMiss = code === 4 && result.outcome === "miss";
    if (version !== 1 || !(isMiss || error?.message)) {
      // A clear says each of its errors.
      const { errors } = JSON.parse(stdout);
      if (!errors?.length) return "a JSON object that says nothing";
    }
  } catch {
    return "no JSON object";
  }
  return undefined;
}

/** All that is wrong with how they end. */
async function tryAll(
  all: readonly Wrong[],
  start: (args: string[]) => Promise<Ran>,
): Promise<string> {
  const wrong: string[] = [];
  await inTurns(all, async (use) => {
    const [, , ...args] = use;
    const end = args.indexOf("--");
    const at = end < 0 ? args.length : end;
    const ran = await start(args.toSpliced(at, 0, "--json"));
    const why = complaint(use, ran);
    if (why) {
      wrong.push(`${args.join(" ")}: ${why}: ${ran.stderr}${ran.stdout}`);
    }
  });
  return wrong.join("\n");
}

/** What is in a directory, apart from locks and counters. */
function lookAround(path: string): Look {
  const all = Object.entries(look(path));
  return Object.fromEntries(
    all.filter(([name]) => !/\.lock$|\/stats\//.test(name)),
  );
}

test("rebuild-cache answers a wrong use with one line, and touches nothing", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write(TREE);
  const inside = (args: string[]) => runCli(args, { cwd: dir.path });
  assertEquals((await inside(["put", ...STORE, "known", "src"])).code, 0);
  assert(WRONG.length >= 100, `${WRONG.length}`);
  const before = lookAround(dir.path);
  assertEquals(await tryAll(WRONG.filter(([code]) => code === 2), inside), "");
  assertEquals(difference(lookAround(dir.path), before), undefined);
  const around = lookAround(dir.path);
  assertEquals(await tryAll(WRONG.filter(([code]) => code !== 2), inside), "");
  assertEquals(difference(lookAround(dir.path), around), undefined);
});

/** What a user may not do to what belongs to root. */
const FORBIDDEN: readonly Wrong[] = [
  [1, "ermission denied", "ls", "--dir", "secret/store"],
  [1, "ermission denied", "verify", "--dir", "secret/store"],
  [1, "ermission denied", "prune", "--dir", "secret/store"],
  [1, "ermission denied", "get", "--dir", "secret/store", "known", "tmp/a"],
  [1, "ermission denied", "put", "--dir", "secret/store", "key", "src"],
  [1, "ermission denied", "put", "--dir", "new", "key", "src"],
  [1, "ermission denied", "ensure", "--dir=new", "k", "tmp/d", ...RUN],
  [1, "ermission denied", "link", "secret", "tmp/e"],
  [1, "ermission denied", "link", "secret/src", "tmp/f"],
  [1, "ermission denied", "link", "src", "out"],
  [1, "ermission denied", "link", "src/a", "out"],
  [1, "ermission denied", "clear", "secret/src"],
  [1, "ermission denied", "clear", "--dry-run", "secret/src"],
  [1, "ermission denied", "rebuild", "secret/src", ...RUN],
  [1, "ermission denied", "rebuild", "out", ...RUN],
  [1, "ermission denied", "use", "secret/src", ...RUN],
  [1, "ermission denied", "doctor", "src"],
  [1, "ermission denied", "doctor", "secret/src"],
  [126, "ermission denied", "use", "src", "--", "./file"],
];

test("rebuild-cache says in one line what a user may not do", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  dir.write({ ...TREE, secret: { src: { a: "" } }, tmp: {} });
  const store = ["--dir", "secret/store", "known", "src"];
  assertEquals((await runCli(["put", ...store], { cwd: dir.path })).code, 0);
  Deno.chmodSync(dir.path, 0o755);
  Deno.chmodSync(dir.at("secret"), 0o700);
  Deno.chmodSync(dir.at("tmp"), 0o1777);
  const before = lookAround(dir.path);
  const wrong = await tryAll(
    FORBIDDEN,
    (args) => runAsNobody(args, { cwd: dir.path }),
  );
  assertEquals(wrong, "");
  assertEquals(difference(lookAround(dir.path), before), undefined);
});

test("rebuild-cache says in one line that its working directory is gone", [
  "posix",
], async () => {
  const module = denoRun("tests/support/gone_directory.ts");
  const gone: Wrong[] = [
    [1, "working directory does not exist", "link", "a", "b"],
    [1, "working directory does not exist", "ls", "--dir", "store"],
    [1, "working directory does not exist", "put", "--dir=c", "key", "src"],
    [1, "working directory does not exist", "use", "cache", ...RUN],
    [1, "No such file or directory", "clear", "cache"],
  ];
  const start = (args: string[]) => run([Deno.execPath(), ...module, ...args]);
  assertEquals(await tryAll(gone, start), "");
});

test("rebuild-cache says in one line that its output can't be written", [
  "linux",
  "sh",
], async () => {
  for (
    const args of [["help"], ["version", "--json"], ["completions", "zsh"]]
  ) {
    const { code, stderr } = await run([
      ...["sh", "-c", '"$@" >/dev/full', "sh", ...cliCommand(args)],
    ]);
    assertEquals(code, 1);
    assert(
      /^rebuild-cache: Cannot write to "standard output": .*\n$/.test(stderr),
      stderr,
    );
  }
});
