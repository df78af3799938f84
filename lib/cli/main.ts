import { type Command, DELETE_ASIDES } from "./commands.ts";
import { endWith, type Manner, skipsBusy } from "./ending.ts";
import type { Call, Shape } from "./flags.ts";
import { parse, readLine, wantsJson } from "./parse.ts";

/**
 * The command line: parses, does it, and says how it went.
 *
 * Needs `--allow-read`, `--allow-write` and `--allow-env`, and `--allow-run` for
 * `--background` and whatever runs a command. A program that is compiled can't offer
 * `--background`, except for rebuild-cache itself.
 *
 * @param args The arguments, as in `Deno.args`.
 * @returns The exit code: 0 done, 1 failed, 2 wrong use or refused, 4 a miss, 75 in
 * use, 130 interrupted (128 and the signal's number); or that of the command that it ran.
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
    const { deleteAsides } = await import("../clear/delete_asides.ts");
    return (await deleteAsides(args.slice(1), 60_000)).length > 0 ? 1 : 0;
  }
  const manner: Manner = {
    command: "",
    json: wantsJson(args),
    quiet: false,
    skipBusy: false,
  };
  try {
    const line = readLine(args);
    manner.command = line.command.name;
    if (line.instead === "version") {
      const { sayVersion } = await import("./version.ts");
      return sayVersion(manner.json);
    }
    if (line.instead === "help") {
      const { sayHelp } = await import("./help.ts");
      const isTop = line.command.name === "help" && !line.named;
      return sayHelp(isTop ? undefined : line.command, manner.json);
    }
    const call = parse(line);
    manner.quiet = call.values.quiet;
    manner.skipBusy = "ifBusy" in call.values &&
      skipsBusy(call.command, call.values.ifBusy);
    return await run(line.command, call);
  } catch (error) {
    return endWith(error, manner);
  }
}

/** Each command's module is loaded when it is needed. */
async function run(command: Command, call: Call<Shape>): Promise<number> {
  const [{ run }, { setUpLogging }] = await Promise.all([
    command.load(),
    import("./logging.ts"),
  ]);
  setUpLogging(call.values.quiet, call.values.verbose);
  return await run(call as never);
}
