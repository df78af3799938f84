/**
 * What a flag is, and how the text of its value becomes a value of its type.
 *
 * @module
 */

import { nearest } from "./nearest.ts";

/** A mistake in how the command was called: one line, exit code 2. */
export class UsageError extends Error {
  /** The class's name. */
  override name = "UsageError";
}

/** What kind of value a flag takes; a `switch` takes none. */
export type Kind =
  | "switch"
  | "text"
  | "path"
  | "directory"
  | "choice"
  | "number";

/** A flag, or a word that a command takes: its name and its value's type. */
export interface Flag<Name extends string = string, Value = unknown> {
  /** Its long name, without the dashes. */
  readonly name: Name;
  /** What kind of value it takes. */
  readonly kind: Kind;
  /** Its one-letter name, if it has one. */
  readonly short?: string;
  /** What its value is, in capitals; none for a switch. */
  readonly value?: string;
  /** The values that it may have, each with what it means, if not any. */
  readonly choices?: Readonly<Record<string, string>>;
  /** Whether it may be given more than once. */
  readonly repeat?: boolean;
  /** Whether it must be given. */
  readonly required?: boolean;
  /** What it is if it is not given, as it would be typed. */
  readonly default?: string;
  /** One line for the help. */
  readonly doc: string;
  /** Whether few need it, so that most helps only name it. */
  readonly rare?: true;
  /** The variable of the environment that sets it; `undefined` if none may. */
  readonly variable: string | undefined;
  /**
   * Reads what was typed.
   *
   * @param texts Each time that it was given; none if it was not.
   * @param label What an error calls it.
   * @throws {UsageError} If that is no value of its type.
   */
  readonly read: (texts: readonly string[], label: string) => Value;
}

/** What is said about a flag. */
interface About {
  readonly doc: string;
  readonly rare?: true;
  readonly short?: string;
  readonly value?: string;
  readonly repeat?: true;
  readonly required?: true;
  readonly default?: string;
  /** Its variable, if that has another name; `false` if only the user's own word counts. */
  readonly variable?: string | false;
}

/** The type of a flag's value: a list, a value, or one that may be missing. */
type Got<A, T> = A extends { readonly repeat: true } ? readonly T[]
  : A extends { readonly default: string } | { readonly required: true } ? T
  : T | undefined;

/** Gives the value of one text, or throws what it should be. */
type Read<T> = (text: string, label: string) => T;

function valued<const N extends string, T, const A extends About>(
  name: N,
  kind: Kind,
  about: A,
  one: Read<T>,
  choices?: Readonly<Record<string, string>>,
): Flag<N, Got<A, T>> {
  const { default: fallback, repeat } = about;
  return {
    value: name.toUpperCase(),
    ...about,
    ...choices && { choices },
    name,
    kind,
    variable: variableOf(name, about.variable),
    read(texts, label) {
      if (texts.length > 1 && !repeat) {
        throw new UsageError(`${label} was given ${texts.length} times`);
      }
      const given = texts.length === 0 && fallback !== undefined
        ? [fallback]
        : texts;
      const values = given.map((text) => one(text, label));
      return (repeat ? values : values[0]) as Got<A, T>;
    },
  };
}

function variableOf(
  name: string,
  variable?: string | false,
): string | undefined {
  if (variable === false) return undefined;
  return variable ?? `REBUILD_CACHE_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** A flag without a value: whether it was given. */
export function flag<const N extends string>(
  name: N,
  about: Pick<About, "doc" | "short" | "variable" | "rare">,
): Flag<N, boolean> {
  const { variable, ...rest } = about;
  return {
    ...rest,
    name,
    kind: "switch",
    variable: variableOf(name, variable),
    read: (texts) => texts.length > 0,
  };
}

/** A flag without a value that counts: how often it was given. */
export function counted<const N extends string>(
  name: N,
  about: Pick<About, "doc" | "short">,
): Flag<N, number> {
  return { ...flag(name, about), repeat: true, read: (texts) => texts.length };
}

/** Any text that is not empty. */
export function text<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, string>> {
  return valued(name, "text", about, (text) => text);
}

/** A path. One that begins with a `~` was not what the user meant. */
export function path<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, string>> {
  return valued(name, "path", about, withoutTilde);
}

/** The path of a directory. */
export function directory<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, string>> {
  return valued(name, "directory", about, withoutTilde);
}

function withoutTilde(path: string, label: string): string {
  if (!path.startsWith("~")) return path;
  throw new UsageError(
    `${label} "${path}" begins with a ~ that no shell has expanded: ` +
      `write "$HOME" instead, or "./${path}" if that is a name`,
  );
}

/** One of a few words. */
export function choice<
  const N extends string,
  const C extends Readonly<Record<string, string>>,
  const A extends About,
>(name: N, choices: C, about: A): Flag<N, Got<A, keyof C & string>> {
  return valued(name, "choice", about, (text, label) => {
    if (Object.hasOwn(choices, text)) return text as keyof C & string;
    const near = nearest(text, Object.keys(choices));
    const such = near
      ? `did you mean ${near}?`
      : `it is one of ${Object.keys(choices).join(", ")}`;
    throw new UsageError(`${label} can't be "${text}": ${such}`);
  }, choices);
}

/** A whole number, from 1 or another least one. */
export function wholeNumber<const N extends string, const A extends About>(
  name: N,
  about: A & { readonly from?: number },
): Flag<N, Got<A, number>> {
  const { from = 1, ...rest } = about;
  return valued(name, "number", rest as unknown as A, (text, label) => {
    if (/^(0|[1-9]\d{0,8})$/.test(text) && Number(text) >= from) {
      return Number(text);
    }
    throw new UsageError(
      `${label} takes a whole number from ${from}, not "${text}"`,
    );
  });
}

/** A number of seconds from 0, with up to three decimals. */
export function seconds<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, number>> {
  return valued(name, "number", about, (text, label) => {
    if (/^\d{1,9}(\.\d{1,3})?$/.test(text)) return Number(text);
    throw new UsageError(`${label} takes a number of seconds, not "${text}"`);
  });
}

/** A size, in bytes. */
export function bytes<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, number>> {
  return valued(
    name,
    "number",
    about,
    (text, label) =>
      withUnit(text, label, SIZES, "a size such as 10GB or 500MiB"),
  );
}

/** An age, in milliseconds. */
export function age<const N extends string, const A extends About>(
  name: N,
  about: A,
): Flag<N, Got<A, number>> {
  return valued(
    name,
    "number",
    about,
    (text, label) => withUnit(text, label, AGES, "an age such as 30d or 12h"),
  );
}

const SIZES: Readonly<Record<string, number>> = {
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

const AGES: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** A number with a unit. */
function withUnit(
  text: string,
  label: string,
  units: Readonly<Record<string, number>>,
  such: string,
): number {
  const [, number, unit = ""] = /^(\d{1,15}(?:\.\d{1,6})?) ?([a-z]*)$/i
    .exec(text) ?? [];
  const factor = units[unit.toLowerCase()];
  if (number !== undefined && factor) {
    return Math.floor(Number(number) * factor);
  }
  throw new UsageError(`${label} takes ${such}, not "${text}"`);
}
