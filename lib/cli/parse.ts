/**
 * Parses a command line by the table of commands.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { adviceFor, wrongFlag, wrongWord } from "./advice.ts";
import { type Command, commandOf } from "./commands.ts";
import { type Flag, UsageError } from "./flag.ts";
import { type Call, COMMON, type Shape } from "./flags.ts";

/** A command line, of which it is known whose it is. */
export interface Line {
  /** The command. */
  readonly command: Command;
  /** What was typed without the command's name. */
  readonly args: readonly string[];
  /** Whether the name was typed: `--dir DIR` alone clears, with a COMMAND it rebuilds. */
  readonly named: boolean;
  /** What of these was asked for in place of the command. */
  readonly instead: "help" | "version" | undefined;
}

/** Whether one JSON object is to be printed, even if the command line is wrong. */
export function wantsJson(args: readonly string[]): boolean {
  const [json] = COMMON;
  if (flagsOf(args).includes("--json")) return true;
  return /^(1|true|yes)$/i.test(variable(json.variable!) ?? "");
}

/** The arguments that may be flags: those before a `--`. */
function flagsOf(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}

/**
 * Finds the command in what was typed. Flags of every command may stand before it.
 *
 * @throws {UsageError} If there is no such command.
 */
export function readLine(args: readonly string[]): Line {
  const at = args.findIndex((arg) => !isCommon(arg));
  const first = at < 0 ? undefined : args[at]!;
  const instead = insteadOf(flagsOf(args));
  if (first === undefined || first.startsWith("-")) {
    const isRebuild = args.includes("--");
    const name = first === undefined && instead
      ? instead
      : isRebuild
      ? "rebuild"
      : "clear";
    if (first === undefined && !instead) {
      throw new UsageError("No --dir was given, and no command");
    }
    return { command: commandOf(name)!, args, named: false, instead };
  }
  const command = commandOf(first);
  if (command) {
    return { command, args: args.toSpliced(at, 1), named: true, instead };
  }
  throw new UsageError(adviceFor(first));
}

const SWITCHES = new Set(COMMON.map(({ name }) => `--${name}`));
const LETTERS = COMMON.flatMap((it: Flag) => it.short ?? []).join("");
const CLUSTER = new RegExp(`^-[${LETTERS}]+$`);

function isCommon(arg: string): boolean {
  return SWITCHES.has(arg) || CLUSTER.test(arg);
}

function insteadOf(args: readonly string[]): Line["instead"] {
  for (const arg of args) {
    const isCluster = CLUSTER.test(arg);
    if (arg === "--help" || (isCluster && arg.includes("h"))) return "help";
    if (arg === "--version" || (isCluster && arg.includes("V"))) {
      return "version";
    }
  }
  return undefined;
}

/**
 * Parses a command line. `parseArgs` takes what it does not know, turns what looks
 * like a number into one, and lets a value that is given twice silently win; none of
 * that happens here.
 *
 * @throws {UsageError} If a flag or a word is unknown, missing or wrong.
 */
export function parse({ command, args, named }: Line): Call<Shape> {
  const flags = [...command.flags, ...COMMON];
  const usage = `rebuild-cache ${command.usage}`;
  const end = args.indexOf("--");
  if (end >= 0 && command.noDashes !== undefined) {
    throw new UsageError(
      `${command.name} runs no command. ${command.noDashes}`,
    );
  }
  if (end < 0 && command.runs) {
    throw new UsageError(
      `There is no -- before the command that ${command.name} runs: ${usage}`,
    );
  }
  const { texts, words } = split(
    command,
    flagsOf(args),
    flags,
    named,
    end >= 0,
  );
  let run: readonly string[] = [];
  if (end >= 0) {
    let rest = args.slice(end + 1);
    if (command.runs) {
      // A -- before the words ends the flags, and the next one begins the command.
      const next = rest.indexOf("--");
      const own = command.words.some(({ name }) => !has(command.flags, name));
      if (own && words.length === 0 && next >= 0) {
        words.push(...rest.slice(0, next));
        rest = rest.slice(next + 1);
      }
      if (!rest[0]) throw new UsageError("There is no command behind the --");
      run = rest;
    } else words.push(...rest);
  }
  const typed = new Set(texts.keys());
  place(command, words, texts, named ? usage : undefined);
  const values: Record<string, unknown> = {};
  for (const flag of [...flags, ...command.words]) {
    const given = texts.get(flag.name);
    const set = given ?? fromEnvironment(flag);
    const isWord = command.words.includes(flag) && !has(flags, flag.name);
    const wasWord = has(command.words, flag.name) && !typed.has(flag.name);
    const label = given
      ? wasWord ? wordOf(flag) : `--${flag.name}`
      : flag.variable ?? flag.name;
    if (set.includes("") && flag.kind !== "switch") {
      throw new UsageError(
        wasWord
          ? `${label} is empty: ${usage}`
          : `${label} needs a value: ${label} ${flag.value}`,
      );
    }
    if (flag.required && set.length === 0) {
      const also = flag.variable && !isWord ? `, nor ${flag.variable}` : "";
      const isDir = flag.name === "dir" && named && has(command.words, "dir");
      throw new UsageError(
        isWord || isDir
          ? `${wordOf(flag)} is missing: ${usage}`
          : `No --${flag.name} was given${also}`,
      );
    }
    values[camel(flag.name)] = flag.read(set, label);
  }
  return {
    values: values as Call<Shape>["values"],
    typed,
    run: run as readonly [string, ...string[]],
    command: command.name,
    line: ["rebuild-cache", ...named ? [command.name] : [], ...args].join(" ")
      .slice(0, 200),
  };
}

const has = (flags: readonly Flag[], name: string) =>
  flags.some((it) => it.name === name);

const wordOf = ({ name, value }: Flag) =>
  value?.replace("…", "") ?? name.toUpperCase();

const camel = (name: string) =>
  name.replaceAll(/-(.)/g, (_, letter) => letter.toUpperCase());

/** What was typed of each flag, and the words. */
function split(
  command: Command,
  args: readonly string[],
  flags: readonly Flag[],
  named: boolean,
  hasDashes: boolean,
): { texts: Map<string, string[]>; words: string[] } {
  const names = (of: readonly Flag[]) => of.map(({ name }) => keyOf(name));
  const isValued = (arg?: string) =>
    flags.some(({ name, kind }) => kind !== "switch" && arg === `--${name}`);
  const given = args.flatMap((arg, at) => {
    // parseArgs() takes an empty value, of a variable that is not set, for a word.
    if (arg === "" && isValued(args[at - 1])) return [];
    if (args[at + 1] === "" && isValued(arg)) return [`${arg}=`];
    return explicit(arg, flags);
  });
  const parsed = parseArgs(given, {
    boolean: names(flags.filter(({ kind }) => kind === "switch")),
    string: ["_", ...names(flags.filter(({ kind }) => kind !== "switch"))],
    collect: names(flags),
    unknown(arg: string, key?: string) {
      if (key !== undefined) throw new UsageError(wrongFlag(arg, command));
      if (!named) throw new UsageError(wrongWord(arg, hasDashes));
    },
  }) as Record<string, unknown[]>;
  const texts = new Map<string, string[]>();
  for (const { name } of flags) {
    const given = parsed[keyOf(name)]!.filter((it) => it !== false);
    if (given.length > 0) texts.set(name, given.map(String));
  }
  return { texts, words: parsed._ as string[] };
}

/**
 * `-vv` as `--verbose=true` twice, and `--json` as `--json=true`, so that a
 * following word "true" or "false" is not taken for the flag's value.
 */
function explicit(arg: string, flags: readonly Flag[]): string[] {
  for (const { name, kind } of flags) {
    if (kind === "switch" && arg === `--${name}`) {
      return [`--${keyOf(name)}=true`];
    }
    if (kind === "switch" && arg.startsWith(`--${name}=`)) {
      throw new UsageError(`--${name} takes no value`);
    }
  }
  if (!/^-[A-Za-z]+$/.test(arg)) return [arg];
  return [...arg.slice(1)].map((letter) => {
    const flag = flags.find(({ short }) => short === letter);
    if (!flag) throw new UsageError(`Unknown flag -${letter}`);
    return `--${flag.name}=true`;
  });
}

/** `parseArgs` takes `--no-x` for the opposite of `--x`. */
function keyOf(flag: string): string {
  return flag.replace(/^no-/, "no_");
}

/** Gives each word the place that is its own. */
function place(
  { words: wanted, flags, name }: Command,
  words: readonly string[],
  texts: Map<string, string[]>,
  usage: string | undefined,
): void {
  let at = 0;
  for (const { name, repeat } of wanted) {
    if (texts.has(name) || at === words.length) continue;
    const end = repeat ? words.length : at + 1;
    texts.set(name, words.slice(at, end));
    at = end;
  }
  const more = words[at];
  if (more === undefined) return;
  const isRoot = wanted.length === 0 && has(flags, "dir") && !texts.has("dir");
  throw new UsageError(
    isRoot
      ? `${name} takes no words: to name the cache, say --dir ${more}`
      : `"${more}" is one word too many: ${usage}`,
  );
}

/** What the environment says of a flag that was not given. */
function fromEnvironment(flag: Flag): string[] {
  const text = flag.variable && variable(flag.variable);
  if (!text) return [];
  if (flag.kind !== "switch") return flag.repeat ? text.split("\n") : [text];
  if (/^(0|false|no)$/i.test(text)) return [];
  if (/^(1|true|yes)$/i.test(text)) return [text];
  throw new UsageError(`${flag.variable} is 1 or 0, not "${text}"`);
}

function variable(name: string): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) : undefined;
}
