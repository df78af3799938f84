import config from "../../deno.json" with { type: "json" };
import { type Command, COMMANDS, EXIT_CODES } from "./commands.ts";
import { EXIT } from "./ending.ts";
import type { Flag } from "./flag.ts";
import { type Call, COMMON } from "./flags.ts";
import { describe } from "./help.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache man` */
export function run({ values }: Call): number {
  const text = manPage();
  if (values.json) printJson("man", { result: { text } });
  else print(text.trimEnd());
  return EXIT.done;
}

/** The manual page, in the language of man(7). */
export function manPage(): string {
  return [
    `.TH REBUILD\\-CACHE 1 "" "rebuild\\-cache ${config.version}" "User Commands"`,
    ".SH NAME",
    "rebuild\\-cache \\- put cached files where they are needed, clear and rebuild caches",
    ".SH SYNOPSIS",
    ...[
      "--dir DIR [-- COMMAND…]",
      ...COMMANDS.map(({ usage }) => usage),
    ].map((usage) => `${text(`rebuild-cache ${usage}`)}\n.br`),
    ".SH COMMANDS",
    ...COMMANDS.flatMap(section),
    ".SH COMMON FLAGS",
    ...COMMON.flatMap(flag),
    ".SH ENVIRONMENT",
    "A flag can be set by a variable, unless it says what is removed or replaced.",
    "What is typed comes first.",
    "What may be given more than once is split at line ends; a flag without a value is 1 or 0.",
    ...variables(),
    ".SH EXIT STATUS",
    ...Object.entries(EXIT_CODES).flatMap(([code, [means, more]]) => [
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
    `.SS ${text(name)}`,
    `.B ${text(`rebuild-cache ${usage}`)}`,
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

function flag(one: Flag): string[] {
  const { name, short, value, kind, choices = {} } = one;
  const names = [...short ? [`-${short}`] : [], `--${name}`];
  const shown = names.map((it) => `\\fB${text(it)}\\fR`).join(", ");
  return [
    ".TP",
    kind === "switch" ? shown : `${shown} \\fI${text(value!)}\\fR`,
    text(describe(one)),
    ...Object.entries(choices).map(([word, means]) =>
      `.br\n\\fI${text(word)}\\fR: ${text(means)}`
    ),
  ];
}

function variables(): string[] {
  const all = new Map(
    [...COMMANDS.flatMap(({ flags }) => flags), ...COMMON]
      .flatMap(({ name, variable }) => variable ? [[variable, name]] : []),
  );
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
