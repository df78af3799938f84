/**
 * What to say of a word that is not understood: what was meant, most likely.
 *
 * @module
 */

import { type Command, commandOf, COMMANDS } from "./commands.ts";
import { COMMON } from "./flags.ts";
import { nearest } from "./nearest.ts";

/** Words that other programs have for our commands. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  clean: "clear",
  purge: "clear",
  remove: "rm",
  delete: "rm",
  del: "rm",
  build: "rebuild",
  run: "use",
  exec: "use",
  lock: "use",
  cp: "link",
  copy: "link",
  clone: "link",
  save: "put",
  add: "put",
  store: "put",
  restore: "get",
  fetch: "get",
  list: "ls",
  dir: "ls",
  gc: "prune",
  check: "verify",
  fsck: "verify",
  probe: "doctor",
  completion: "completions",
  manual: "man",
};

/**
 * What to say of a word where a command should stand. Never a line that would clear
 * what was named by mistake, if it is copied.
 */
export function adviceFor(word: string): string {
  const names = COMMANDS.map(({ name }) => name);
  const other = Object.hasOwn(OTHER_WORDS, word) ? OTHER_WORDS[word]! : "";
  const near = names.includes(other) ? other : nearest(word, names);
  if (near && !looksLikePath(word)) {
    return `Unknown command ${word}: did you mean ${near}?`;
  }
  return `"${word}" is not a command. Say what is to be done first, such as: rebuild-cache clear DIR`;
}

function looksLikePath(word: string): boolean {
  return /[/\\.~]/.test(word) || isThere(word);
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false; // what it is, or whether it may be looked at, makes no difference
  }
}

/** What to say of a word where no command was named, and none is expected. */
export function wrongWord(word: string, hasDashes: boolean): string {
  if (hasDashes) {
    return `"${word}" is not understood: the command stands behind --`;
  }
  return commandOf(word)
    ? `${word} comes first: rebuild-cache ${word} …`
    : `"${word}" is not understood: a directory stands behind a --dir of its own, a command behind --`;
}

/** What to say of a flag that a command does not have. */
export function wrongFlag(arg: string, { name, flags }: Command): string {
  const [typed] = arg.split("=", 1) as [string];
  const spelled = [...flags, ...COMMON].map((it) => `--${it.name}`);
  const others = COMMANDS.filter((it) =>
    it.flags.some((flag) => `--${flag.name}` === typed)
  );
  if (others.length > 0) {
    const whose = others.map((it) => it.name).join(", ");
    return `${typed} is a flag of ${whose}, not of ${name}`;
  }
  const near = nearest(typed, spelled);
  return `Unknown flag ${typed}${near ? `: did you mean ${near}?` : ""}`;
}
