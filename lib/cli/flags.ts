/**
 * Parses a command line by the table of commands, and prints its help.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  CLEAR,
  type Command,
  COMMANDS,
  COMMON,
  EXIT_CODES,
  type Flag,
  variableOf,
} from "./commands.ts";

/** A mistake in how the command was called: one line, exit code 2. */
export class UsageError extends Error {
  /** The class's name. */
  override name = "UsageError";
}

/** What was typed. */
export interface Parsed {
  /** Whether a flag was given, and how often; 0 if the command has no such flag. */
  count(flag: string): number;
  /** The values of a flag, in order; none if the command has no such flag. */
  values(flag: string): readonly string[];
  /** What is not a flag. */
  readonly positionals: readonly string[];
  /** The command behind `--`, if there is a `--` and the command runs one. */
  readonly run: readonly [string, ...string[]] | undefined;
  /** What `--json` calls the command: `clear`, `rebuild`, or its name. */
  readonly command: string;
  /** What was typed, for people. */
  readonly typed: string;
}

/**
 * Parses what stands behind the command. `parseArgs` takes what it does not
 * know, turns what looks like a number into one, and lets a value that is given
 * twice silently win; none of that happens here.
 *
 * @throws {UsageError} If a flag is unknown, lacks its value, or has one too many.
 */
export function parse(command: Command, typed: readonly string[]): Parsed {
  const flags = [...command.flags, ...COMMON];
  const end = command.runs ? typed.indexOf("--") : -1;
  const args = end < 0 ? typed : typed.slice(0, end);
  const run = end < 0 ? undefined : typed.slice(end + 1);
  if (run?.length === 0) {
    throw new UsageError("There is no command behind the --");
  }
  const names = (of: readonly Flag[]) => of.map(({ name }) => keyOf(name));
  const parsed = parseArgs(args.flatMap((arg) => explicit(arg, flags)), {
    boolean: names(flags.filter((flag) => !flag.value)),
    string: ["_", ...names(flags.filter((flag) => flag.value))],
    collect: names(flags),
    unknown(arg: string, key?: string) {
      if (key !== undefined) throw unknownFlag(arg, flags);
    },
  }) as Record<string, unknown[]>;
  for (const flag of flags) {
    const given = parsed[keyOf(flag.name)]!;
    if (given.length === 0) given.push(...fromEnvironment(flag));
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
            ? `: did you mean ${near}?`
            : `: it is ${flag.choices.join(", ")}`
        }`,
      );
    }
    if (given.length > 1 && flag.value && !flag.repeat) {
      throw new UsageError(`--${flag.name} was given ${given.length} times`);
    }
  }
  return {
    count: (flag) =>
      (parsed[keyOf(flag)] ?? []).filter((it) => it !== false).length,
    values: (flag) => (parsed[flag] ?? []) as string[],
    positionals: parsed._ as string[],
    run: run as [string, ...string[]] | undefined,
    command: command.name || (run ? "rebuild" : "clear"),
    typed: ["rebuild-cache", command.name, ...typed].filter(Boolean).join(" ")
      .slice(0, 200),
  };
}

/** What the environment says of a flag that was not given. */
function fromEnvironment(flag: Flag): (string | true)[] {
  if (flag.name === "help" || flag.name === "version") return [];
  const variable = variableOf(flag);
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  const text = state === "granted" ? Deno.env.get(variable) : undefined;
  if (!text) return [];
  if (flag.value) return flag.repeat ? text.split("\n") : [text];
  if (/^(0|false|no)$/i.test(text)) return [];
  if (/^(1|true|yes)$/i.test(text)) return [true];
  throw new UsageError(`${variable} is 1 or 0, not "${text}"`);
}

/** `parseArgs` takes `--no-x` for the opposite of `--x`. */
function keyOf(flag: string): string {
  return flag.replace(/^no-/, "no_");
}

/**
 * `-vv` as `--verbose=true` twice, and `--json` as `--json=true`, so that a
 * following word "true" or "false" is not taken for the flag's value.
 */
function explicit(arg: string, flags: readonly Flag[]): string[] {
  const long = flags.find(({ name, value }) => !value && arg === `--${name}`);
  if (long) return [`--${keyOf(long.name)}=true`];
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
    `Unknown flag ${typed}${near ? `: did you mean ${near}?` : ""}`,
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

/** Refuses words that a command has no use for. */
export function noWords({ positionals: [word] }: Parsed): void {
  if (word !== undefined) {
    throw new UsageError(`"${word}" is not understood`);
  }
}

/** The value of a flag that takes a whole number, from 1 or another least one. */
export function wholeNumber(
  parsed: Parsed,
  flag: string,
  from = 1,
): number | undefined {
  const [text] = parsed.values(flag);
  if (text === undefined) return undefined;
  if (/^(0|[1-9]\d{0,8})$/.test(text) && Number(text) >= from) {
    return Number(text);
  }
  throw new UsageError(
    `--${flag} takes a whole number from ${from}, not "${text}"`,
  );
}

const SIZES: Record<string, number> = {
  "": 1,
  b: 1,
  ...Object.fromEntries(
    ["k", "m", "g", "t"].flatMap((letter, i) => [
      [letter, 1000 ** (i + 1)],
      [`${letter}b`, 1000 ** (i + 1)],
      [`${letter}ib`, 1024 ** (i + 1)],
    ]),
  ),
};

const AGES: Record<string, number> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** The value of a flag that takes a number with a unit. */
function withUnit(
  parsed: Parsed,
  flag: string,
  units: Record<string, number>,
  such: string,
): number | undefined {
  const [text] = parsed.values(flag);
  if (text === undefined) return undefined;
  const [, number, unit = ""] = /^(\d{1,15}(?:\.\d{1,6})?) ?([a-z]*)$/i
    .exec(text) ?? [];
  const factor = units[unit.toLowerCase()];
  if (number !== undefined && factor) {
    return Math.floor(Number(number) * factor);
  }
  throw new UsageError(`--${flag} takes ${such}, not "${text}"`);
}

/** The value of a flag that takes a size, in bytes. */
export function bytes(parsed: Parsed, flag: string): number | undefined {
  return withUnit(parsed, flag, SIZES, "a size such as 10GB or 500MiB");
}

/** The value of a flag that takes an age, in milliseconds. */
export function age(parsed: Parsed, flag: string): number | undefined {
  return withUnit(parsed, flag, AGES, "an age such as 30d or 12h");
}

/** The value of a flag that takes a number of seconds from 0. */
export function seconds(parsed: Parsed, flag: string): number | undefined {
  const [text] = parsed.values(flag);
  if (text === undefined) return undefined;
  if (/^\d{1,9}(\.\d{1,3})?$/.test(text)) return Number(text);
  throw new UsageError(`--${flag} takes a number of seconds, not "${text}"`);
}

/** The help of a command. */
export function help(command: Command): string {
  const rows = [...command.flags, ...COMMON].map((flag) => {
    const short = flag.short ? `-${flag.short}, ` : "    ";
    const value = flag.value ? ` ${flag.value}` : "";
    return [`  ${short}--${flag.name}${value}`, flag.doc] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  const names = COMMANDS.map(({ name }) => name).filter(Boolean).join(", ");
  return [
    `Usage: ${command.usage}`,
    ...command === CLEAR
      ? ["       rebuild-cache COMMAND --help", `Commands: ${names}`]
      : [],
    "",
    command.doc,
    "",
    ...rows.map(([flag, doc]) => flag.padEnd(width) + doc),
    "",
    "Each flag has a variable: --dir is REBUILD_CACHE_DIR, and so on.",
    ...exitCodes(command),
    "",
    ...command.examples.flatMap(([call, does]) => [
      `  # ${does}`,
      `  ${call}`,
    ]),
    "",
  ].join("\n");
}

function exitCodes({ runs }: Command): string[] {
  const line = (codes: typeof EXIT_CODES) =>
    codes.map(([code, means]) => `${code} ${means}`).join(", ");
  const own = EXIT_CODES.filter(([code]) => !code.startsWith("126"));
  const others = EXIT_CODES.filter((it) => !own.includes(it));
  return [
    `Exit codes: ${line(own)}`,
    ...runs ? [`            ${line(others)}; else its own`] : [],
  ];
}
