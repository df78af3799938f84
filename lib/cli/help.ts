/**
 * The help, from the table that the parser goes by.
 *
 * @module
 */

import { adviceFor } from "./advice.ts";
import {
  type Command,
  commandOf,
  COMMANDS,
  EXIT_CODES,
  type Group,
  GROUPS,
} from "./commands.ts";
import { EXIT } from "./ending.ts";
import { type Flag, UsageError } from "./flag.ts";
import { type Call, COMMON, type HELP } from "./flags.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache help [COMMAND]` */
export function run({ values }: Call<typeof HELP>): number {
  const { command: name, json } = values;
  const command = name === undefined ? undefined : commandOf(name);
  if (name !== undefined && !command) throw new UsageError(adviceFor(name));
  return sayHelp(command, json);
}

/** `rebuild-cache … --help` */
export function sayHelp(command: Command | undefined, json: boolean): number {
  const text = command ? help(command) : topHelp();
  if (json) printJson("help", { result: { text } });
  else print(text.trimEnd());
  return EXIT.done;
}

/** What there is. */
export function topHelp(): string {
  const groups = Object.keys(GROUPS) as Group[];
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 2;
  return [
    "Puts cached files where they are needed, clears and rebuilds caches.",
    "",
    "Usage: rebuild-cache --dir DIR                  the same as: clear DIR",
    "       rebuild-cache --dir DIR -- COMMAND…      the same as: rebuild DIR -- COMMAND…",
    "       rebuild-cache COMMAND …",
    ...groups.flatMap((group) => [
      "",
      `${GROUPS[group]}:`,
      ...COMMANDS.filter((it) => it.group === group).map(({ name, summary }) =>
        `  ${name.padEnd(width)}${summary}`
      ),
    ]),
    "",
    "Flags of every command, before or after it:",
    ...flagRows(COMMON),
    "",
    "rebuild-cache help COMMAND has the flags and two examples of each.",
    "",
  ].join("\n");
}

/** The help of a command. */
export function help(command: Command): string {
  const { allFlags = false } = command;
  const flags = command.flags.filter(({ rare }) => allFlags || !rare);
  const rare = command.flags.filter((it) => !flags.includes(it));
  return [
    `Usage: rebuild-cache ${command.usage}`,
    "",
    command.doc,
    "",
    ...flagRows(flags),
    ...rare.length === 0
      ? []
      : wrap(rare.map(spelled), 76).map((line, i) =>
        `${i === 0 ? "Rarely:     " : " ".repeat(12)}${line}`
      ),
    ...wrap(COMMON.map(spelled), 76).map((line, i) =>
      `${i === 0 ? "As always:  " : " ".repeat(12)}${line}`
    ),
    "",
    ...variableLines(command),
    ...exitCodes(command),
    "",
    ...command.examples.flatMap(([call, does]) => [
      `  # ${does}`,
      `  ${call}`,
    ]),
    "",
  ].join("\n");
}

function flagRows(flags: readonly Flag[]): string[] {
  const rows = flags.map((flag) => {
    const short = flag.short ? `-${flag.short}, ` : "    ";
    const value = flag.kind === "switch" ? "" : ` ${flag.value}`;
    return [`  ${short}--${flag.name}${value}`, describe(flag)] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  return rows.flatMap(([flag, doc]) =>
    wrap(doc.split(" "), 90 - width, "").map((line, i) =>
      (i === 0 ? flag : "").padEnd(width) + line
    )
  );
}

const spelled = ({ name, short }: Flag) =>
  short ? `--${name} (-${short})` : `--${name}`;

/** What a flag does, its values, and which is the default. */
export function describe({ doc, choices, default: usual }: Flag): string {
  const words = choices ? `: ${Object.keys(choices).join(", ")}` : "";
  return `${doc}${words}${usual === undefined ? "" : ` (default: ${usual})`}`;
}

/** Which variables set flags of a command, and which flags none sets. */
function variableLines({ flags }: Command): string[] {
  const root = flags.find(({ variable }) => variable === "REBUILD_CACHE_ROOT");
  const typed = flags.filter(({ variable }) => variable === undefined);
  const names = typed.map(({ name }) => `--${name}`).join(", ");
  return [
    `Variables:  REBUILD_CACHE_JSON is --json, and so on${
      root ? "; REBUILD_CACHE_ROOT is --dir" : ""
    }`,
    ...names ? [`            None sets ${names}`] : [],
  ];
}

function exitCodes({ exits = [] }: Command): string[] {
  const codes = Object.entries(EXIT_CODES).filter(([code]) =>
    ["0", "1", "2", ...exits].includes(code)
  ).map(([code, [means]]) => `${code} ${means}`);
  const [first, ...more] = wrap(codes, 76);
  return [
    `Exit codes: ${first}`,
    ...more.map((line) => `            ${line}`),
  ];
}

/** Parts, with commas between them, in lines. */
function wrap(
  parts: readonly string[],
  width: number,
  comma = ",",
): string[] {
  const lines = [""];
  for (const [i, part] of parts.entries()) {
    const text = i < parts.length - 1 ? `${part}${comma}` : part;
    const line = lines.at(-1)!;
    if (line && line.length + text.length + 1 > width) lines.push(text);
    else lines[lines.length - 1] = line ? `${line} ${text}` : text;
  }
  return lines;
}
