/**
 * Every flag, and which of them each command takes. The command's module gets their
 * values by name and type; see {@linkcode Call}.
 *
 * @module
 */

import {
  age,
  bytes,
  choice,
  counted,
  directory,
  type Flag,
  flag,
  path,
  seconds,
  text,
  wholeNumber,
} from "./flag.ts";

/** What a command takes: its own flags, and its words in their order. */
export interface Shape {
  /** Its flags; those of {@linkcode COMMON} come on top. */
  readonly flags: readonly Flag[];
  /** Its words. One that is named as a flag is may be given by either. */
  readonly words: readonly Flag[];
}

/** `dry-run` as `dryRun`. */
type Camel<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name;

/** The values of flags, by their names. */
type Values<F extends Flag> = {
  readonly [
    One in F as Camel<One["name"]>
  ]: One extends Flag<string, infer Value> ? Value : never;
};

/** A call of a command, parsed: every value is of its flag's type. */
export interface Call<S extends Shape = { flags: []; words: [] }> {
  /** The values of its flags and words; `--dry-run` is `dryRun`. */
  readonly values: Values<
    S["flags"][number] | S["words"][number] | (typeof COMMON)[number]
  >;
  /** The names of the flags that were typed, not set by a variable or a default. */
  readonly typed: ReadonlySet<string>;
  /** The command behind `--`, of a command that runs one. */
  readonly run: readonly [string, ...string[]];
  /** Its name. */
  readonly command: string;
  /** The whole command line, for people, up to 200 characters of it. */
  readonly line: string;
}

/** Flags of every command, which may stand before it, too. */
export const COMMON = [
  flag("json", { doc: "Print one JSON object on standard output" }),
  flag("quiet", { short: "q", doc: "Print errors only" }),
  counted("verbose", {
    short: "v",
    doc: "Say what is done and why (-vv: in detail)",
  }),
  flag("help", { short: "h", doc: "Print this help", variable: false }),
  flag("version", { short: "V", doc: "Print the version", variable: false }),
] as const;

/** Flags of every command that takes a lock. */
export const LOCKS = [
  choice("if-busy", {
    wait: "wait until it is free",
    skip: "leave it alone, and exit with 0 (75 if it was needed)",
    fail: "exit with 75 at once",
  }, { value: "WHAT", default: "wait", doc: "When it is in use" }),
  seconds("wait", {
    value: "SECONDS",
    doc: "Wait at most that long, then exit 75 (300; builds: no limit)",
  }),
  flag("no-lock", {
    rare: true,
    doc: "Take no lock; nobody else may be using it",
  }),
] as const;

const DRY_RUN = flag("dry-run", {
  doc: "Change nothing; say what would be done",
});

// No variable names what a clear, a rebuild or a use is about, nor lets anything go
// that is in the way: only what the user has typed.
const DIRS = {
  flag: directory("dir", {
    repeat: true,
    required: true,
    variable: false,
    doc: "A directory: the same as DIR",
  }),
  word: directory("dir", {
    repeat: true,
    required: true,
    variable: false,
    value: "DIR…",
    doc: "The directories",
  }),
};

const DIR = {
  flag: directory("dir", {
    required: true,
    variable: false,
    doc: "The directory: the same as DIR",
  }),
  word: directory("dir", {
    required: true,
    variable: false,
    doc: "The directory",
  }),
};

const ALLOW_EMPTY = flag("allow-empty", {
  variable: false,
  doc: "COMMAND may leave the directory empty",
});

const FOLLOW = flag("follow", {
  variable: false,
  doc: "Take the directory that a symbolic link leads to",
});

/** What `clear` takes. */
export const CLEAR = {
  flags: [
    DIRS.flag,
    flag("recreate", {
      doc: "Leave an empty directory with the old mode and owner",
    }),
    FOLLOW,
    flag("background", {
      doc: "Return when DIR is gone; delete it in the background",
    }),
    DRY_RUN,
    ...LOCKS,
  ],
  words: [DIRS.word],
} as const satisfies Shape;

/** What `rebuild` takes. */
export const REBUILD = {
  flags: [
    DIR.flag,
    FOLLOW,
    DRY_RUN,
    flag("in-place", {
      variable: false,
      doc: "COMMAND fills DIR itself, which is cleared first",
    }),
    text("share", {
      value: "KEY",
      doc: "Share one result with those who asked with KEY before it ran",
    }),
    ALLOW_EMPTY,
    ...LOCKS,
  ],
  words: [DIR.word],
} as const satisfies Shape;

/** What `use` takes. */
export const USE = {
  flags: [DIRS.flag, ...LOCKS],
  words: [DIRS.word],
} as const satisfies Shape;

/** How each file gets there. */
function mode<D extends "auto" | "private">(otherwise: D) {
  return choice("mode", {
    auto: "clone, else hard link, else copy",
    private: "clone, else copy: shares nothing",
    clone: "copy-on-write, else as auto",
    reflink: "the same as clone",
    hardlink: "shares the file, else copy",
    symlink: "leads to the file, else copy",
    copy: "shares nothing",
  }, { value: "MODE", default: otherwise, doc: "How each file gets there" });
}

const EXISTING = {
  error: "leave it, and fail",
  skip: "leave it, and exit with 0",
  replace: "swap the whole of it",
  merge: "put each file into the tree that is there",
} as const;

const WHEN_IT_EXISTS = {
  value: "WHAT",
  variable: false,
  doc: "When something stands at DST",
} as const;

/** Flags that say how files are put in their place. */
export const LINKS = [
  choice("on-link-limit", {
    reset: "give the cached file a fresh inode",
    copy: "copy the file",
    error: "fail",
  }, {
    rare: true,
    value: "WHAT",
    default: "reset",
    doc: "When a file can have no more hard links",
  }),
  wholeNumber("max-links", {
    rare: true,
    value: "N",
    doc: "Act as if N hard links to a file were the limit",
  }),
  text("mutable", {
    value: "GLOB",
    repeat: true,
    doc: "Files that will be written to: cloned or copied",
  }),
  wholeNumber("jobs", {
    rare: true,
    value: "N",
    default: "2",
    doc: "Use at most N threads",
  }),
  flag("strict", { rare: true, doc: "Fail instead of using the next mode" }),
] as const;

/** How what comes out of a cache is put in its place. */
const PLACES = [
  DRY_RUN,
  mode("private"),
  choice("if-exists", {
    update: "replace what this cache put there; else fail",
    ...EXISTING,
  }, { ...WHEN_IT_EXISTS, default: "update" }),
  ...LINKS,
] as const;

const SRC = path("src", {
  required: true,
  variable: false,
  doc: "A file or a tree",
});

const DST = path("dst", {
  required: true,
  variable: false,
  doc: "Where it is needed",
});

/** What `link` takes. */
export const LINK = {
  flags: [
    DRY_RUN,
    mode("auto"),
    choice("if-exists", EXISTING, { ...WHEN_IT_EXISTS, default: "error" }),
    ...LINKS,
    text("include", {
      value: "GLOB",
      repeat: true,
      doc: "Only files that it matches, below SRC",
    }),
    text("exclude", {
      value: "GLOB",
      repeat: true,
      doc: "Neither files nor directories that it matches",
    }),
    ...LOCKS,
  ],
  words: [SRC, DST],
} as const satisfies Shape;

/** The cache that a command is about. */
export const ROOT = directory("dir", {
  value: "ROOT",
  variable: "REBUILD_CACHE_ROOT",
  doc: "The cache (the one in the user's directory for caches)",
});

const BUCKET = text("bucket", {
  value: "NAME",
  default: "default",
  doc: "The bucket that KEY is in",
});

/** Whose digest is part of the key. */
export const HASH = text("hash", {
  value: "GLOB",
  repeat: true,
  doc: "Append a digest of these files to KEY (!GLOB: except those)",
});

/** The cache, and what a key is in it. */
const KEYED = [ROOT, BUCKET, HASH] as const;

const FALLBACK = text("fallback", {
  value: "PREFIX",
  repeat: true,
  doc: "On a miss, take the newest entry whose key begins with it",
});

const OR_KEY = text("or-key", {
  value: "KEY",
  repeat: true,
  doc: "On a miss, take this key (before any --fallback)",
});

const ALSO_KEY = text("also-key", {
  rare: true,
  value: "KEY",
  repeat: true,
  variable: false,
  doc: "Put it under this key, too",
});

const KEY = text("key", { required: true, variable: false, doc: "Any text" });

const KEYS = text("key", {
  required: true,
  repeat: true,
  variable: false,
  value: "KEY…",
  doc: "The keys",
});

const DURABLE = flag("durable", {
  rare: true,
  doc: "Return only when it is on the disk",
});

/** What may stay in a cache. */
export const LIMITS = [
  age("max-age", {
    value: "AGE",
    doc: "Remove what was not used for that long: 30d, 12h",
  }),
  bytes("max-size", {
    value: "SIZE",
    doc: "Keep at most that much on the disk: 10GB, 500MiB",
  }),
  wholeNumber("max-entries", {
    value: "N",
    from: 0,
    doc: "Keep at most that many entries",
  }),
] as const;

/** A server that machines share, and who we are to it. */
function remote<D extends "read" | "read-write">(otherwise: D) {
  return [
    text("remote", {
      value: "URL",
      doc: "Share with other machines by this server: https:, s3:, grpcs:",
    }),
    choice("remote-mode", {
      read: "take what is there",
      "read-write": "also give it what was built or put here",
    }, { value: "MODE", default: otherwise, doc: "What may be done with it" }),
    flag("remote-required", {
      rare: true,
      doc: "Fail if it can't be reached, or refuses",
    }),
    seconds("remote-timeout", {
      rare: true,
      value: "SECONDS",
      doc: "Wait so long for it to answer, and for each byte (2, then 10)",
    }),
    flag("remote-insecure", {
      rare: true,
      doc: "Allow http: and grpc: to another machine",
    }),
    path("remote-sign", {
      rare: true,
      value: "KEYFILE",
      doc: "Sign what is pushed with this private key (Ed25519, PEM)",
    }),
    path("remote-trust", {
      rare: true,
      value: "KEYFILE",
      repeat: true,
      doc: "Take only what this public key has signed",
    }),
    path("remote-ca", {
      rare: true,
      value: "FILE",
      doc: "Trust this authority, too (PEM)",
    }),
    path("remote-cert", {
      rare: true,
      value: "FILE",
      doc: "The client's certificate (PEM)",
    }),
    path("remote-key", {
      rare: true,
      value: "FILE",
      doc: "Its private key (PEM)",
    }),
    text("credential-helper", {
      rare: true,
      value: "PROGRAM",
      doc: "Ask this program for headers, as Bazel does",
    }),
  ] as const;
}

/** Of commands that use a remote besides what they do. */
export const REMOTE = remote("read");

/** What `pull` takes. */
export const PULL = {
  flags: [...KEYED, ...REMOTE, DURABLE, ...LOCKS],
  words: [KEYS],
} as const satisfies Shape;

/** What `push` takes: whoever says so means to write. */
export const PUSH = {
  flags: [...KEYED, ...remote("read-write"), ...LOCKS],
  words: [KEYS],
} as const satisfies Shape;

/** What `put` takes. */
export const PUT = {
  flags: [...KEYED, ALSO_KEY, ...REMOTE, DURABLE, ...LIMITS, ...LOCKS],
  words: [KEY, SRC],
} as const satisfies Shape;

/** What `get` takes. */
export const GET = {
  flags: [
    ...KEYED,
    FALLBACK,
    OR_KEY,
    flag("lookup-only", { doc: "Only say whether it is there" }),
    ...PLACES,
    ...REMOTE,
    ...LOCKS,
  ],
  words: [KEY, path("dst", { variable: false, doc: "Where it is needed" })],
} as const satisfies Shape;

/** What `ensure` takes. */
export const ENSURE = {
  flags: [
    ...KEYED,
    FALLBACK,
    OR_KEY,
    ALSO_KEY,
    flag("refresh", {
      variable: false,
      doc: "Run COMMAND even if it is there",
    }),
    ...PLACES,
    ...REMOTE,
    ALLOW_EMPTY,
    DURABLE,
    ...LIMITS,
    ...LOCKS,
  ],
  words: [KEY, DST],
} as const satisfies Shape;

/** What `rm` takes. */
export const RM = {
  flags: [...KEYED, DRY_RUN, ...LOCKS],
  words: [KEYS],
} as const satisfies Shape;

/** What `stats` takes. */
export const STATS = { flags: [ROOT], words: [] } as const satisfies Shape;

/** What `ls` takes. */
export const LS = { flags: [ROOT], words: [] } as const satisfies Shape;

/** What `prune` takes. */
export const PRUNE = {
  flags: [ROOT, ...LIMITS, DRY_RUN, ...LOCKS],
  words: [],
} as const satisfies Shape;

/** What `verify` takes. */
export const VERIFY = {
  flags: [ROOT, ...LOCKS],
  words: [],
} as const satisfies Shape;

/** What `doctor` takes. */
export const DOCTOR = {
  flags: [
    directory("dir", {
      variable: false,
      doc: "The directory: the same as DIR",
    }),
    wholeNumber("links", {
      value: "N",
      default: "1100",
      doc: "Try at most that many hard links to one file",
    }),
    ...REMOTE,
  ],
  words: [
    directory("dir", { variable: false, doc: "The directory" }),
    directory("dst", { variable: false, doc: "Where it is needed" }),
  ],
} as const satisfies Shape;

/** What `completions` takes. */
export const COMPLETIONS = {
  flags: [],
  words: [
    choice("shell", {
      bash: "GNU Bash",
      zsh: "Z shell",
      fish: "fish",
      powershell: "PowerShell",
    }, { required: true, variable: false, doc: "The shell" }),
  ],
} as const satisfies Shape;

/** What `man` and `version` take. */
export const NOTHING = { flags: [], words: [] } as const satisfies Shape;

/** What `help` takes. */
export const HELP = {
  flags: [],
  words: [text("command", { variable: false, doc: "The command" })],
} as const satisfies Shape;
