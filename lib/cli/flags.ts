/**
 * Every flag and command, once: parser, help and suggestions come from here.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";

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

/** Clears cache directories. */
export const CLEAR: Command = {
  name: "",
  usage: "rebuild-cache --dir DIR [--dir DIR …]",
  doc:
    `Clear cache directories without breaking a process that uses them: each is
renamed aside at one stroke and deleted there. What an earlier run left is
deleted, too. A missing directory is nothing to do.`,
  flags: [
    { name: "dir", value: "DIR", repeat: true, doc: "The directory to clear" },
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
  ],
  examples: [
    ["rebuild-cache --dir ~/.cache/pip", "Clear pip's cache"],
    [
      "rebuild-cache --dir .cache --recreate --background",
      "Start afresh at once, delete the old files meanwhile",
    ],
  ],
};

/** Puts a cached tree in its place. */
export const LINK: Command = {
  name: "link",
  usage: "rebuild-cache link SRC DST",
  doc:
    `Put a cached file or tree where it is needed, as cheaply as the file systems
allow: each file by a clone, a hard link, a symbolic link or a copy. DST appears
whole or not at all. What stands there is never written through.`,
  flags: [
    {
      name: "mode",
      value: "MODE",
      choices: ["auto", "clone", "hardlink", "symlink", "copy"],
      doc: "auto (clone, hard link, copy), clone, hardlink, symlink, copy",
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
    {
      name: "mutable",
      value: "GLOB",
      repeat: true,
      doc: "Files that will be written to: cloned or copied",
    },
    { name: "jobs", value: "N", doc: "Threads, at most (2)" },
    { name: "strict", doc: "Fail instead of using the next mode" },
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

/** All commands; the first is meant when none is named. */
export const COMMANDS: readonly Command[] = [CLEAR, LINK, DOCTOR];

/** The word by which a compiled binary calls itself to delete asides. */
export const DELETE_ASIDES = "__delete-asides";

/** A mistake in how the command was called: one line, exit code 2. */
export class UsageError extends Error {
  /** The class's name. */
  override name = "UsageError";
}

/** What was typed. */
export interface Parsed {
  /** Whether a flag was given, and how often. */
  count(flag: string): number;
  /** The values of a flag, in order. */
  values(flag: string): readonly string[];
  /** What is not a flag. */
  readonly positionals: readonly string[];
}

/**
 * Parses what stands behind the command. `parseArgs` takes what it does not
 * know, turns what looks like a number into one, and lets a value that is given
 * twice silently win; none of that happens here.
 *
 * @throws {UsageError} If a flag is unknown, lacks its value, or has one too many.
 */
export function parse(command: Command, args: readonly string[]): Parsed {
  const flags = [...command.flags, ...COMMON];
  const names = (of: readonly Flag[]) => of.map(({ name }) => name);
  const parsed = parseArgs(args.flatMap((arg) => explicit(arg, flags)), {
    boolean: names(flags.filter((flag) => !flag.value)),
    string: ["_", ...names(flags.filter((flag) => flag.value))],
    collect: names(flags),
    unknown(arg: string, key?: string) {
      if (key !== undefined) throw unknownFlag(arg, flags);
    },
  }) as Record<string, unknown[]>;
  for (const flag of flags) {
    const given = parsed[flag.name]!;
    if (flag.value && given.includes("")) {
      throw new UsageError(
        `--${flag.name} needs a value: --${flag.name} ${flag.value}`,
      );
    }
    for (const value of given) {
      if (!flag.choices || flag.choices.includes(value as string)) continue;
      const near = nearest(value as string, flag.choices);
      throw new UsageError(
        `--${flag.name} can't be "${value}"${
          near
            ? `. Did you mean ${near}?`
            : `: it is ${flag.choices.join(", ")}`
        }`,
      );
    }
    if (given.length > 1 && flag.value && !flag.repeat) {
      throw new UsageError(`--${flag.name} was given ${given.length} times`);
    }
  }
  return {
    count: (flag) => parsed[flag]!.filter((it) => it !== false).length,
    values: (flag) => parsed[flag] as string[],
    positionals: parsed._ as string[],
  };
}

/**
 * `-vv` as `--verbose=true` twice, and `--json` as `--json=true`, so that a
 * following word "true" or "false" is not taken for the flag's value.
 */
function explicit(arg: string, flags: readonly Flag[]): string[] {
  const long = flags.find(({ name, value }) => !value && arg === `--${name}`);
  if (long) return [`${arg}=true`];
  if (!/^-[A-Za-z]+$/.test(arg)) return [arg];
  return [...arg.slice(1)].map((letter) => {
    const flag = flags.find(({ short }) => short === letter);
    if (!flag) throw unknownFlag(`-${letter}`, flags);
    return flag.value ? `--${flag.name}` : `--${flag.name}=true`;
  });
}

function unknownFlag(arg: string, flags: readonly Flag[]): UsageError {
  const [typed] = arg.split("=", 1) as [string];
  const near = nearest(typed, flags.map(({ name }) => `--${name}`));
  return new UsageError(
    `Unknown flag ${typed}${near ? `. Did you mean ${near}?` : ""}`,
  );
}

/** The word nearest to what was typed, if any is near enough to be meant. */
export function nearest(
  typed: string,
  words: readonly string[],
): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const word of words) {
    const distance = word.startsWith(typed) && typed.length > 3
      ? 0
      : editDistance(typed, word);
    if (distance < least) [best, least] = [word, distance];
  }
  return best;
}

/** Levenshtein's distance: letters to add, drop or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The value of a flag that takes a whole number from 1. */
export function wholeNumber(parsed: Parsed, flag: string): number | undefined {
  const [text] = parsed.values(flag);
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`--${flag} takes a whole number from 1, not "${text}"`);
}

/** The help of a command. */
export function help(command: Command): string {
  const rows = [...command.flags, ...COMMON].map((flag) => {
    const short = flag.short ? `-${flag.short}, ` : "    ";
    const value = flag.value ? ` ${flag.value}` : "";
    return [`  ${short}--${flag.name}${value}`, flag.doc] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  const others = COMMANDS.filter((other) => other !== command);
  return [
    `Usage: ${command.usage}`,
    ...others.map(({ usage }) => `       ${usage}`),
    "",
    command.doc,
    "",
    "Flags:",
    ...rows.map(([flag, doc]) => flag.padEnd(width) + doc),
    "",
    "Exit codes: 0 done, 1 failed, 2 wrong use or refused, 130 interrupted",
    "",
    "Examples:",
    ...command.examples.flatMap(([call, does]) => [
      `  # ${does}`,
      `  ${call}`,
    ]),
    "",
  ].join("\n");
}
