import config from "../../deno.json" with { type: "json" };
import {
  type Command,
  COMMANDS,
  COMMON,
  EXIT_CODES,
  type Flag,
  variableOf,
} from "./commands.ts";
import { noWords, type Parsed } from "./flags.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache man` */
export function manCommand(parsed: Parsed): number {
  noWords(parsed);
  const text = manPage();
  if (parsed.count("json")) printJson("man", { result: { text } });
  else print(text.trimEnd());
  return 0;
}

/** The manual page, in the language of man(7). */
export function manPage(): string {
  return [
    `.TH REBUILD\\-CACHE 1 "" "rebuild\\-cache ${config.version}" "User Commands"`,
    ".SH NAME",
    "rebuild\\-cache \\- put cached files where they are needed, clear and rebuild caches",
    ".SH SYNOPSIS",
    ...COMMANDS.map(({ usage }) => `${text(usage)}\n.br`),
    ".SH COMMANDS",
    ...COMMANDS.flatMap(section),
    ".SH COMMON FLAGS",
    ...COMMON.flatMap(flag),
    ".SH ENVIRONMENT",
    "Each flag can be set by a variable. What is typed comes first.",
    "What may be given more than once is split at line ends; a flag without a value is 1 or 0.",
    ...variables(),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, means, more]) => [
      ".TP",
      text(code),
      text(means + more),
    ]),
    "",
  ].join("\n");
}

function section(command: Command): string[] {
  const { name, usage, doc, flags, examples } = command;
  return [
    `.SS ${text(name || "clear and rebuild (no command)")}`,
    `.B ${text(usage)}`,
    ".PP",
    ...doc.split("\n\n").flatMap((part) => [text(part), ".PP"]),
    ...flags.flatMap(flag),
    ".PP",
    "Examples:",
    ...examples.flatMap(([call, does]) => [
      ".PP",
      text(does) + ":",
      ".br",
      `.B ${text(call)}`,
    ]),
  ];
}

function flag({ name, short, value, choices, doc }: Flag): string[] {
  const names = [...short ? [`-${short}`] : [], `--${name}`];
  const shown = names.map((it) => `\\fB${text(it)}\\fR`).join(", ");
  const values = choices ? `: ${choices.join(", ")}` : "";
  return [
    ".TP",
    value ? `${shown} \\fI${text(value)}\\fR` : shown,
    text(doc + (doc.includes(",") ? "" : values)),
  ];
}

function variables(): string[] {
  const flags = [...COMMANDS.flatMap(({ flags }) => flags), ...COMMON]
    .filter(({ name }) => name !== "help" && name !== "version");
  const all = new Map(flags.map((it) => [variableOf(it), it.name]));
  return [...all].sort().flatMap(([variable, name]) => [
    ".TP",
    `.B ${variable}`,
    text(`--${name}`),
  ]);
}

/** Text in which roff finds nothing to do. */
function text(plain: string): string {
  return plain.replaceAll("\\", "\\e").replaceAll("-", "\\-")
    .replaceAll("…", "...").replaceAll("~", "\\(ti").replaceAll("^", "\\(ha")
    .replaceAll("'", "\\(aq").replaceAll("`", "\\(ga")
    .replaceAll(/^\./gm, "\\&.");
}
