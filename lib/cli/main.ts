import config from "../../deno.json" with { type: "json" };
import { deleteAsides } from "../clear/delete_asides.ts";
import { CacheError } from "../error.ts";
import { clearCommand, DELETE_ASIDES } from "./clear.ts";
import { CLEAR, help, parse, UsageError } from "./flags.ts";
import { complain, print, printJson, setUpLogging } from "./output.ts";

/**
 * The command line: parses, does it, and says how it went.
 *
 * Needs `--allow-read`, `--allow-write` and `--allow-env`, and `--allow-run` for
 * `--background`.
 *
 * @param args The arguments, as in `Deno.args`.
 * @returns The exit code: 0 done, 1 failed, 2 wrong use or refused, 130
 * interrupted (128 and the signal's number).
 *
 * @example Asking for the version
 * ```ts
 * import { main } from "@rebuild/cache/cli";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await main(["--version"]), 0);
 * ```
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === DELETE_ASIDES) {
    return (await deleteAsides(args.slice(1), 60_000)).length > 0 ? 1 : 0;
  }
  const json = args.includes("--json");
  try {
    const parsed = parse(CLEAR, args);
    if (parsed.count("help")) {
      print(help(CLEAR).trimEnd());
      return 0;
    }
    if (parsed.count("version")) {
      print(`rebuild-cache ${config.version} (Deno ${Deno.version.deno})`);
      return 0;
    }
    setUpLogging(parsed.count("quiet") > 0, parsed.count("verbose"));
    return await clearCommand(parsed);
  } catch (error) {
    if (error instanceof UsageError) {
      complain(`${error.message}. Try rebuild-cache --help`);
    } else if (error instanceof CacheError) {
      complain(error.message);
    } else {
      throw error;
    }
    const kind = error instanceof CacheError ? error.kind : "usage";
    if (json) printJson("clear", { error: { kind, message: error.message } });
    return kind === "usage" || kind === "refused" ? 2 : 1;
  }
}
