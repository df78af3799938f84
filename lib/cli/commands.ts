/**
 * Every command, once: parser, help, manual page and completions come from here.
 *
 * @module
 */

import {
  type Call,
  CLEAR,
  COMPLETIONS,
  DOCTOR,
  ENSURE,
  GET,
  HELP,
  LINK,
  LS,
  NOTHING,
  PRUNE,
  PULL,
  PUSH,
  PUT,
  REBUILD,
  RM,
  type Shape,
  STATS,
  USE,
  VERIFY,
} from "./flags.ts";

/** Exit codes, what they mean in a few words, and what else may be said. */
export const EXIT_CODES = {
  "0": ["done", ", also if there was nothing to do"],
  "1": ["failed", "; damage that verify found"],
  "2": ["wrong use or refused", ": nothing was touched"],
  "4": ["a miss", ": nothing was written"],
  "75": ["in use", ", and not released in time"],
  "126, 127": ["COMMAND can't be run", ", or is not there; else its own code"],
  "130": ["interrupted", " (128 and the signal's number)"],
} as const satisfies Record<string, readonly [means: string, more: string]>;

/** Under which heading a command stands in the help. */
export type Group = keyof typeof GROUPS;

/** The headings of the help. */
export const GROUPS = {
  directories: "Any cache directory",
  trees: "Trees of files",
  keyed: "A cache with keys",
  more: "More",
} as const;

/** A row of the table. */
interface Row {
  /** Its name. */
  readonly name: string;
  /** Under which heading it stands. */
  readonly group: Group;
  /** How it is called, behind `rebuild-cache`. */
  readonly usage: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** What it does, in a few lines. */
  readonly doc: string;
  /** Whether it runs the COMMAND behind `--`. Otherwise a `--` ends the flags. */
  readonly runs?: true;
  /** What to say of a `--`, if it must not stand there at all. */
  readonly noDashes?: string;
  /** The exit codes that it may have, besides 0, 1 and 2. */
  readonly exits?: readonly (keyof typeof EXIT_CODES)[];
  /** Whether its help explains all flags, also those that few need. */
  readonly allFlags?: true;
  /** Two calls, each with what it does. */
  readonly examples: readonly [Example, Example];
}

type Example = readonly [call: string, does: string];

/** A command, of whatever shape. */
export interface Command extends Row, Shape {
  /** Loads its module. It gets a call of the command's shape. */
  readonly load: () => Promise<{
    readonly run: (call: never) => number | Promise<number>;
  }>;
}

/** A command whose module takes what the command's shape has. */
function command<const S extends Shape>(
  shape: S,
  row: Row,
  load: () => Promise<{
    readonly run: (call: Call<S>) => number | Promise<number>;
  }>,
): Command {
  return { ...shape, ...row, load };
}

/** All commands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  command(CLEAR, {
    name: "clear",
    allFlags: true,
    group: "directories",
    usage: "clear DIR…",
    summary: "Clear directories that others may be using",
    doc:
      `Clear cache directories: each is atomically renamed aside and deleted there, so nobody
sees half of it. Wait for those who run "rebuild-cache use" on it. What an earlier run
left is deleted, too. That a directory does not exist is no error.
"rebuild-cache --dir DIR" is the same.`,
    noDashes: "To rebuild, say: rebuild-cache rebuild DIR -- COMMAND…",
    exits: ["75", "130"],
    examples: [
      ["rebuild-cache clear ~/.cache/pip", "Clear pip's cache"],
      [
        "rebuild-cache --dir .cache --if-busy skip",
        "Clear a directory, unless it is in use",
      ],
    ],
  }, () => import("./clear.ts")),
  command(REBUILD, {
    name: "rebuild",
    allFlags: true,
    group: "directories",
    usage: "rebuild DIR -- COMMAND…",
    summary: "Build a directory anew, beside the old one, and swap them",
    doc: `Rebuild DIR: COMMAND fills a directory beside it, which it finds in
REBUILD_CACHE_OUT and wherever {} stands in its arguments. If it succeeds, that takes
DIR's place; if it fails, or wrote nothing there, DIR stays as it was.
"rebuild-cache --dir DIR -- COMMAND…" is the same.`,
    runs: true,
    exits: ["75", "126, 127", "130"],
    examples: [
      [
        "rebuild-cache rebuild wheels -- pip wheel -r requirements.txt -w {}",
        "Build wheels anew while the old ones stay in use",
      ],
      [
        "rebuild-cache rebuild docs --in-place -- make docs",
        "For a tool that can't be told where to build",
      ],
    ],
  }, () => import("./rebuild.ts")),
  command(USE, {
    name: "use",
    allFlags: true,
    group: "directories",
    usage: "use DIR… -- COMMAND…",
    summary: "Run a command while nobody may clear a directory",
    doc:
      `Run COMMAND while nobody clears or rebuilds DIR. Its exit code comes back, and
signals are passed on to it. Any number of commands may use DIR at the same time. If
DIR does not exist, what it lies in is made.`,
    runs: true,
    exits: ["75", "126, 127", "130"],
    examples: [
      [
        "rebuild-cache use ~/.cache/pip -- pip install -r requirements.txt",
        "Nobody clears pip's cache meanwhile",
      ],
      [
        "rebuild-cache use .cache --wait 60 -- make",
        "Wait a minute for whoever clears it",
      ],
    ],
  }, () => import("./use.ts")),
  command(LINK, {
    name: "link",
    allFlags: true,
    group: "trees",
    usage: "link SRC DST",
    summary: "Put a cached file or tree where it is needed",
    doc:
      `Put a cached file or tree where it is needed, as cheaply as the file systems
allow: each file by a clone, a hard link, a symbolic link or a copy. DST appears
whole or not at all. What stands there is never written through.`,
    exits: ["75", "130"],
    examples: [
      [
        "rebuild-cache link ~/.cache/deps/abc node_modules",
        "Materialize a tree from a cache",
      ],
      [
        "rebuild-cache link --mode hardlink --mutable '**/*.db' store/x env/x",
        "Share all files but those that will be written to",
      ],
    ],
  }, () => import("./link.ts")),
  command(PUT, {
    name: "put",
    group: "keyed",
    usage: "put KEY SRC",
    summary: "Put a file or a tree under a key",
    doc:
      `Put a copy of the file or directory SRC into a cache, under KEY (any text). What KEY
pointed to before stays for those who use it, until a prune. A KEY that begins with -
goes after --: put -- -KEY SRC.`,
    exits: ["75", "130"],
    examples: [
      [
        "rebuild-cache put --dir ~/.cache/deps npm-abc node_modules",
        "Keep a tree",
      ],
      [
        "rebuild-cache put --dir /mnt/cache --durable model-7 model.bin",
        "Keep a file, even through a power cut",
      ],
    ],
  }, () => import("./put.ts")),
  command(GET, {
    name: "get",
    group: "keyed",
    usage: "get KEY DST",
    summary: "Put what a key points to where it is needed",
    doc:
      `Put what KEY points to at DST: cloned or copied, so that writing to it never changes
the cache, unless --mode asks to share. What this cache put there before is replaced, or
left alone if it is the same. On a miss, write nothing and exit with 4.`,
    exits: ["4", "75", "130"],
    examples: [
      [
        "rebuild-cache get --hash package-lock.json npm node_modules",
        "Get the tree of a lockfile",
      ],
      [
        "rebuild-cache get --mode hardlink model-7 model.bin",
        "Share a file that nobody writes to",
      ],
    ],
  }, () => import("./get.ts")),
  command(ENSURE, {
    name: "ensure",
    group: "keyed",
    usage: "ensure KEY DST -- COMMAND…",
    summary: "Get what a key points to; on a miss, build it first",
    doc:
      `Put what KEY points to at DST. What this cache put there before is replaced, or left
alone if it is the same; anything else is an error, before COMMAND runs. On a miss, run
COMMAND first, once for all processes that ask for KEY: it fills a directory, which it
finds in REBUILD_CACHE_OUT and wherever {} stands in its arguments, and that is put under
KEY. If it fails, nothing is. With --fallback it finds an older tree there already.
A KEY that begins with - goes after a -- of its own: ensure -- -KEY DST -- COMMAND…`,
    runs: true,
    exits: ["75", "126, 127", "130"],
    examples: [
      [
        "rebuild-cache ensure --hash requirements.txt wheels wheels -- pip wheel -r requirements.txt -w {}",
        "Build wheels only if they are not in the cache",
      ],
      [
        "rebuild-cache ensure tool-7 tool -- tar -xf tool-7.tar.gz -C {}",
        "Unpack once for all jobs",
      ],
    ],
  }, () => import("./ensure.ts")),
  command(PUSH, {
    name: "push",
    allFlags: true,
    group: "keyed",
    usage: "push KEY…",
    summary: "Give a server what keys point to",
    doc:
      `Give the server that --remote names what KEY points to, so that other machines need
not build it. What it has already is not sent again.`,
    exits: ["4", "75", "130"],
    examples: [
      [
        "rebuild-cache push --remote grpcs://cache.example:9092 npm-abc",
        "Share one key",
      ],
      [
        "rebuild-cache push --remote s3://bucket/ci --hash package-lock.json npm",
        "The lockfile's key, to a bucket",
      ],
    ],
  }, () => import("./push.ts")),
  command(PULL, {
    name: "pull",
    allFlags: true,
    group: "keyed",
    usage: "pull KEY…",
    summary: "Get what a server has under keys into a cache",
    doc:
      `Get what the server that --remote names has under KEY into the cache. What is here
already does not travel. All of it is checked before anybody sees it.`,
    exits: ["4", "75", "130"],
    examples: [
      [
        "rebuild-cache pull --remote grpcs://cache.example:9092 npm-abc",
        "Get one key before it is needed",
      ],
      [
        "rebuild-cache pull --remote https://cache.example --remote-trust ci.pub npm-abc",
        "Only if CI has signed it",
      ],
    ],
  }, () => import("./pull.ts")),
  command(RM, {
    name: "rm",
    allFlags: true,
    group: "keyed",
    usage: "rm KEY…",
    summary: "Remove keys",
    doc:
      `Remove keys. What they pointed to stays for those who use it, until a prune.`,
    exits: ["4", "75", "130"],
    examples: [
      ["rebuild-cache rm npm-abc", "The next ensure builds it again"],
      ["rebuild-cache rm --hash package-lock.json npm", "The lockfile's key"],
    ],
  }, () => import("./rm.ts")),
  command(LS, {
    name: "ls",
    group: "keyed",
    usage: "ls",
    summary: "List what is in a cache",
    doc:
      `List what is in a cache: key, size, files, age, last use, and whether it is in use.`,
    examples: [
      ["rebuild-cache ls --dir ~/.cache/deps", "List a cache"],
      [
        "rebuild-cache ls --dir ~/.cache/deps --json",
        "The same, for a program",
      ],
    ],
  }, () => import("./ls.ts")),
  command(STATS, {
    name: "stats",
    group: "keyed",
    usage: "stats",
    summary: "Count what is in a cache, its hits and misses",
    doc:
      `Print how much is in a cache, how much room it takes on the disk, its hits and misses,
and when it was last pruned.`,
    examples: [
      ["rebuild-cache stats", "The cache in your directory for caches"],
      ["rebuild-cache stats --dir /mnt/cache --json", "For a program"],
    ],
  }, () => import("./stats.ts")),
  command(PRUNE, {
    name: "prune",
    allFlags: true,
    group: "keyed",
    usage: "prune",
    summary: "Remove what no key points to, or what is old",
    doc:
      `Remove what no key points to, and, with a limit, what was least recently used. What
is in use stays, and nobody has to wait for it.`,
    exits: ["75", "130"],
    examples: [
      [
        "rebuild-cache prune --dir ~/.cache/deps",
        "Remove only what no key points to",
      ],
      [
        "rebuild-cache prune --dir ~/.cache/deps --max-age 30d --max-size 10GB",
        "Keep a month, and 10 GB at most",
      ],
    ],
  }, () => import("./prune.ts")),
  command(VERIFY, {
    name: "verify",
    allFlags: true,
    group: "keyed",
    usage: "verify",
    summary: "Compare a cache with what was put into it",
    doc:
      `Read everything in a cache and compare it with what was put. What is damaged is moved
to quarantine, and its key is a miss. Exit with 1 if something is damaged.`,
    exits: ["75", "130"],
    examples: [
      ["rebuild-cache verify --dir ~/.cache/deps", "After a disk failure"],
      ["rebuild-cache verify --dir ~/.cache/deps --json", "For a program"],
    ],
  }, () => import("./verify.ts")),
  command(DOCTOR, {
    name: "doctor",
    allFlags: true,
    group: "more",
    usage: "doctor [DIR [DST]]",
    summary: "Find out what file systems, or a server, can do",
    doc:
      `Find out what the file system of DIR, or of DIR and DST, can do, by trying it with
small files: clone, hard link, symbolic link, lock, names, links to one file. Say
which mode "auto" uses there, and why. With --remote, say whether that server may be
read and written, and how fast it is.`,
    examples: [
      [
        "rebuild-cache doctor ~/.cache /mnt/work",
        "What can be done from a cache to another file system",
      ],
      [
        "rebuild-cache doctor --remote s3://bucket/ci --remote-mode read-write",
        "Whether a bucket can be used",
      ],
    ],
  }, () => import("./doctor.ts")),
  command(COMPLETIONS, {
    name: "completions",
    group: "more",
    usage: "completions bash|zsh|fish|powershell",
    summary: "Print completions for a shell",
    doc:
      `Print a script that makes a shell complete commands, flags and their values.`,
    examples: [
      [
        "rebuild-cache completions bash > ~/.local/share/bash-completion/completions/rebuild-cache",
        "For bash, from the next shell on",
      ],
      [
        "rebuild-cache completions fish > ~/.config/fish/completions/rebuild-cache.fish",
        "For fish",
      ],
    ],
  }, () => import("./completions.ts")),
  command(NOTHING, {
    name: "man",
    group: "more",
    usage: "man",
    summary: "Print the manual page",
    doc: `Print the manual page, as man reads it.`,
    examples: [
      ["rebuild-cache man | man -l -", "Read it"],
      [
        "rebuild-cache man > ~/.local/share/man/man1/rebuild-cache.1",
        "Keep it where man looks",
      ],
    ],
  }, () => import("./man.ts")),
  command(HELP, {
    name: "help",
    group: "more",
    usage: "help [COMMAND]",
    summary: "List the commands, or print the help of one",
    doc: `Print a list of the commands, or the help of one of them.`,
    examples: [
      ["rebuild-cache help", "List the commands"],
      ["rebuild-cache help link", "The same as: rebuild-cache link --help"],
    ],
  }, () => import("./help.ts")),
  command(NOTHING, {
    name: "version",
    group: "more",
    usage: "version",
    summary: "Print the version",
    doc: `Print the version, and that of Deno.`,
    examples: [
      ["rebuild-cache version", "For people"],
      ["rebuild-cache version --json", "For a program"],
    ],
  }, () => import("./version.ts")),
];

/** The command of that name. */
export function commandOf(name: string): Command | undefined {
  return COMMANDS.find((it) => it.name === name);
}

/** The word by which a compiled binary calls itself to delete asides. */
export const DELETE_ASIDES = "__delete-asides";
