import config from "../../deno.json" with { type: "json" };
import { EXIT } from "./ending.ts";
import type { Call } from "./flags.ts";
import { print, printJson } from "./output.ts";

/** `rebuild-cache version` */
export function run({ values }: Call): number {
  return sayVersion(values.json);
}

/** `rebuild-cache … --version` */
export function sayVersion(json: boolean): number {
  const { version } = config;
  const deno = Deno.version.deno;
  if (json) printJson("version", { result: { version, deno } });
  else print(`rebuild-cache ${version} (Deno ${deno})`);
  return EXIT.done;
}
