/**
 * Every flag and command, once: parser, help and suggestions come from here.
 *
 * @module
 */

import { MODES } from "../link/ladder.ts";

/** A flag. */
export interface Flag {
  /** Its long name, without the dashes. */
  readonly name: string;
  /** Its one-letter name, if it has one. */
  readonly short?: string;
  /** What its value is, in capitals. A flag without it takes no value. */
  readonly value?: string;
  /** The values that it may have, if not any. */
  readonly choices?: readonly string[];
  /** Whether it may be given more than once. */
  readonly repeat?: boolean;
  /** One line for the help. */
  readonly doc: string;
}

/** A command: what stands behind `rebuild-cache`. */
export interface Command {
  /** Its name; empty for what `rebuild-cache` does without one. */
  readonly name: string;
  /** How it is called. */
  readonly usage: string;
  /** What it does, in a few lines. */
  readonly doc: string;
  /** Its own flags; those of {@linkcode COMMON} come on top. */
  readonly flags: readonly Flag[];
  /** Whether what stands behind `--` is a command that it runs. */
  readonly runs?: true;
  /** The words that its argument may be, if not a path or a key. */
  readonly words?: readonly string[];
  /** Two calls, each with what it does. */
  readonly examples: readonly (readonly [call: string, does: string])[];
}

/** Flags of every command. */
export const COMMON: readonly Flag[] = [
  { name: "json", doc: "Print one JSON object on standard output" },
  { name: "quiet", short: "q", doc: "Print errors only" },
  {
    name: "verbose",
    short: "v",
    repeat: true,
    doc: "Say what is done and why (-vv: in detail)",
  },
  { name: "help", short: "h", doc: "Print this help" },
  { name: "version", short: "V", doc: "Print the version" },
];

/** Flags of every command that takes a lock. */
export const LOCKS: readonly Flag[] = [
  {
    name: "if-busy",
    value: "WHAT",
    choices: ["wait", "skip", "fail"],
    doc: "When DIR is in use: wait, skip (0, but use: 75), fail (75)",
  },
  {
    name: "wait",
    value: "SECONDS",
    doc: "Wait so long at most; then exit 75 (300; builds: no limit)",
  },
  { name: "no-lock", doc: "Take no lock: nobody else uses DIR" },
];

/** Clears cache directories, or rebuilds one. */
export const CLEAR: Command = {
  name: "",
  usage: "rebuild-cache --dir DIR [--dir DIR …] [-- COMMAND…]",
  doc:
    `Clear cache directories without breaking a process that uses them: each is
renamed aside at one stroke and deleted there. What an earlier run left is
deleted, too. A missing directory is nothing to do.

With COMMAND, rebuild DIR: COMMAND fills a directory beside it, which it finds in
REBUILD_CACHE_OUT and wherever {} stands in its arguments. If it succeeds, that takes
DIR's place; if not, or if it wrote nothing there, DIR is as it was.`,
  flags: [
    { name: "dir", value: "DIR", repeat: true, doc: "The directory" },
    {
      name: "recreate",
      doc: "Leave an empty directory with the old mode and owner",
    },
    {
      name: "follow",
      doc: "Clear the directory that a symbolic link leads to",
    },
    {
      name: "background",
      doc: "Return when DIR is gone; delete on in the background",
    },
    { name: "dry-run", doc: "Change nothing; say what would be done" },
    {
      name: "in-place",
      doc: "COMMAND fills DIR itself, which is cleared first",
    },
    {
      name: "share",
      value: "KEY",
      doc: "Share one result with those who asked with KEY before it ran",
    },
    {
      name: "allow-empty",
      doc: "COMMAND may leave the directory empty",
    },
    ...LOCKS,
  ],
  runs: true,
  examples: [
    ["rebuild-cache --dir ~/.cache/pip", "Clear pip's cache"],
    [
      "rebuild-cache --dir wheels -- pip wheel -r requirements.txt -w {}",
      "Build wheels anew while the old ones stay in use",
    ],
  ],
};

/** Runs a command under a lease. */
export const USE: Command = {
  name: "use",
  usage: "rebuild-cache use --dir DIR [--dir DIR …] -- COMMAND…",
  doc:
    `Run COMMAND while nobody clears or rebuilds DIR. Its exit code comes back, and
signals are passed on to it. Any number may use a DIR at the same time.`,
  flags: [
    { name: "dir", value: "DIR", repeat: true, doc: "The directory in use" },
    ...LOCKS,
  ],
  runs: true,
  examples: [
    [
      "rebuild-cache use --dir ~/.cache/pip -- pip install -r requirements.txt",
      "Nobody clears pip's cache meanwhile",
    ],
    [
      "rebuild-cache use --dir .cache --wait 60 -- make",
      "Wait a minute for whoever clears it",
    ],
  ],
};

/** Flags that say how files are put in their place. */
export const LINKS: readonly Flag[] = [
  {
    name: "mode",
    value: "MODE",
    choices: MODES,
    doc: "auto, private (clone or copy), clone, hardlink, symlink, copy",
  },
  {
    name: "if-exists",
    value: "WHAT",
    choices: ["error", "skip", "replace", "merge"],
    doc: "error, skip, replace, merge (into the tree that is there)",
  },
  {
    name: "on-link-limit",
    value: "WHAT",
    choices: ["reset", "copy", "error"],
    doc: "reset (a fresh inode for the cached file), copy, error",
  },
  {
    name: "max-links",
    value: "N",
    doc: "Act as if N hard links to a file were the limit",
  },
  {
    name: "mutable",
    value: "GLOB",
    repeat: true,
    doc: "Files that will be written to: cloned or copied",
  },
  { name: "jobs", value: "N", doc: "Threads, at most (2)" },
  { name: "strict", doc: "Fail instead of using the next mode" },
];

/** Puts a cached tree in its place. */
export const LINK: Command = {
  name: "link",
  usage: "rebuild-cache link SRC DST",
  doc:
    `Put a cached file or tree where it is needed, as cheaply as the file systems
allow: each file by a clone, a hard link, a symbolic link or a copy. DST appears
whole or not at all. What stands there is never written through.`,
  flags: [
    ...LINKS,
    {
      name: "include",
      value: "GLOB",
      repeat: true,
      doc: "Only files that it matches, below SRC",
    },
    {
      name: "exclude",
      value: "GLOB",
      repeat: true,
      doc: "Neither files nor directories that it matches",
    },
  ],
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
};

/** Flags of every command on a keyed cache. */
const CACHE: readonly Flag[] = [
  {
    name: "dir",
    value: "ROOT",
    doc: "The cache (REBUILD_CACHE_ROOT, or the user's own)",
  },
  {
    name: "bucket",
    value: "NAME",
    doc: 'The bucket that KEY is in ("default")',
  },
];

const DURABLE: Flag = {
  name: "durable",
  doc: "End only when it is on the disk",
};

/** Puts something into a keyed cache. */
export const PUT: Command = {
  name: "put",
  usage: "rebuild-cache put --dir ROOT KEY SRC",
  doc:
    `Put a copy of the file or directory SRC into a cache, under KEY (any text). What KEY
pointed to before stays for those who use it, until a prune.`,
  flags: [...CACHE, DURABLE, ...LOCKS],
  examples: [
    [
      "rebuild-cache put --dir ~/.cache/deps npm-abc node_modules",
      "Keep a tree",
    ],
    [
      "rebuild-cache put --dir /mnt/cache --durable model-7 model.bin",
      "Keep a file, through a power cut, too",
    ],
  ],
};

/** Gets something out of a keyed cache. */
export const GET: Command = {
  name: "get",
  usage: "rebuild-cache get --dir ROOT KEY DST",
  doc:
    `Put what KEY points to at DST: cloned or copied, so that writing to it never changes
the cache, unless --mode asks to share. On a miss, write nothing and exit with 1.`,
  flags: [...CACHE, ...LINKS, ...LOCKS],
  examples: [
    [
      "rebuild-cache get --dir ~/.cache/deps npm-abc node_modules",
      "Get a tree",
    ],
    [
      "rebuild-cache get --dir ~/.cache/deps --mode hardlink model-7 model.bin",
      "Share a file that nobody writes to",
    ],
  ],
};

/** Gets something, or builds it. */
export const ENSURE: Command = {
  name: "ensure",
  usage: "rebuild-cache ensure --dir ROOT KEY DST -- COMMAND…",
  doc:
    `Put what KEY points to at DST. On a miss, run COMMAND first, once among all processes
that ask for KEY: it fills a directory, which it finds in REBUILD_CACHE_OUT and wherever
{} stands in its arguments, and that is put under KEY. If it fails, nothing is.`,
  flags: [
    ...CACHE,
    ...LINKS,
    {
      name: "allow-empty",
      doc: "Put an empty directory, if COMMAND leaves one",
    },
    DURABLE,
    ...LOCKS,
  ],
  runs: true,
  examples: [
    [
      "rebuild-cache ensure --dir ~/.cache/w wheels-1 wheels -- pip wheel -w {} -r requirements.txt",
      "Build wheels, but for the first time only",
    ],
    [
      "rebuild-cache ensure --dir ~/.cache/x v7 tool -- tar -xf tool-7.tar.gz -C {}",
      "Unpack once for all jobs",
    ],
  ],
};

/** Lists a keyed cache. */
export const LS: Command = {
  name: "ls",
  usage: "rebuild-cache ls --dir ROOT",
  doc:
    `List what is in a cache: key, size, files, age, last use, and whether it is in use.`,
  flags: [{ name: "dir", value: "ROOT", doc: "The cache" }],
  examples: [
    ["rebuild-cache ls --dir ~/.cache/deps", "What is there"],
    ["rebuild-cache ls --dir ~/.cache/deps --json", "The same, for a program"],
  ],
};

/** Prunes a keyed cache. */
export const PRUNE: Command = {
  name: "prune",
  usage: "rebuild-cache prune --dir ROOT",
  doc:
    `Remove what no key points to, and, with a limit, what was least recently used. What
is in use stays, and nobody has to wait.`,
  flags: [
    { name: "dir", value: "ROOT", doc: "The cache" },
    { name: "max-age", value: "AGE", doc: "Not used for so long: 30d, 12h" },
    { name: "max-size", value: "SIZE", doc: "So much may stay: 10GB, 500MiB" },
    { name: "max-entries", value: "N", doc: "So many may stay" },
    { name: "dry-run", doc: "Change nothing; say what would be done" },
    ...LOCKS,
  ],
  examples: [
    ["rebuild-cache prune --dir ~/.cache/deps", "Remove garbage only"],
    [
      "rebuild-cache prune --dir ~/.cache/deps --max-age 30d --max-size 10GB",
      "Keep a month, and 10 GB at most",
    ],
  ],
};

/** Verifies a keyed cache. */
export const VERIFY: Command = {
  name: "verify",
  usage: "rebuild-cache verify --dir ROOT",
  doc:
    `Read everything in a cache and compare it with what was put. What is damaged is moved
to quarantine, and its key is a miss. Exit with 1 if something is.`,
  flags: [{ name: "dir", value: "ROOT", doc: "The cache" }, ...LOCKS],
  examples: [
    ["rebuild-cache verify --dir ~/.cache/deps", "After a crash of the disk"],
    ["rebuild-cache verify --dir ~/.cache/deps --json", "For a program"],
  ],
};

/** Says what file systems can do. */
export const DOCTOR: Command = {
  name: "doctor",
  usage: "rebuild-cache doctor DIR [DST]",
  doc:
    `Find out what the file system of DIR, or of DIR and DST, can do, by trying it with
small files: clone, hard link, symbolic link, lock, names, links to one file. Say
which mode "auto" uses there, and why.`,
  flags: [
    {
      name: "links",
      value: "N",
      doc: "Try so many hard links to one file, at most (1100)",
    },
  ],
  examples: [
    ["rebuild-cache doctor ~/.cache", "What can be done in a cache"],
    [
      "rebuild-cache doctor ~/.cache /mnt/work",
      "What can be done from a cache to another file system",
    ],
  ],
};

/** Prints completions for a shell. */
export const COMPLETIONS: Command = {
  name: "completions",
  usage: "rebuild-cache completions bash|zsh|fish|powershell",
  doc: `Print what makes a shell complete commands, flags and their values.`,
  flags: [],
  words: ["bash", "zsh", "fish", "powershell"],
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
};

/** Prints the manual page. */
export const MAN: Command = {
  name: "man",
  usage: "rebuild-cache man",
  doc: `Print the manual page, as man reads it.`,
  flags: [],
  examples: [
    ["rebuild-cache man | man -l -", "Read it"],
    [
      "rebuild-cache man > ~/.local/share/man/man1/rebuild-cache.1",
      "Keep it where man looks",
    ],
  ],
};

/** All commands; the first is meant when none is named. */
export const COMMANDS: readonly Command[] = [
  CLEAR,
  USE,
  LINK,
  PUT,
  GET,
  ENSURE,
  LS,
  PRUNE,
  VERIFY,
  DOCTOR,
  COMPLETIONS,
  MAN,
];

/** The variable of the environment that sets a flag. */
export function variableOf({ name }: Flag): string {
  return `REBUILD_CACHE_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** Exit codes, what they mean in a few words, and what else may be said. */
export const EXIT_CODES: readonly (readonly [string, string, string])[] = [
  ["0", "done", ", also if there was nothing to do"],
  ["1", "failed", "; a miss of get; damage that verify found"],
  ["2", "wrong use or refused", ": nothing was touched"],
  ["75", "in use", ", and not released in time"],
  ["126, 127", "COMMAND can't be run", ", or is not there; else its own code"],
  ["130", "interrupted", " (128 and the signal's number)"],
];

/** The word by which a compiled binary calls itself to delete asides. */
export const DELETE_ASIDES = "__delete-asides";
