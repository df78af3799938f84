import config from "../../deno.json" with { type: "json" };
import { CacheError, kindOfError } from "../error.ts";
import { osErrorNumber } from "../os/error.ts";
import { LockedError } from "../lock/file.ts";
import { CLEAR, type Command, COMMANDS, DELETE_ASIDES } from "./commands.ts";
import { help, nearest, parse, type Parsed, UsageError } from "./flags.ts";
import { endBusy } from "./locks.ts";
import { complain, print, printJson, setUpLogging } from "./output.ts";

/**
 * The command line: parses, does it, and says how it went.
 *
 * Needs `--allow-read`, `--allow-write` and `--allow-env`, and `--allow-run` for
 * `--background`.
 *
 * @param args The arguments, as in `Deno.args`.
 * @returns The exit code: 0 done, 1 failed, 2 wrong use or refused, 75 in
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
  // Of a command line that can't be parsed.
  const end = args.indexOf("--");
  const json = args.slice(0, end < 0 ? undefined : end).includes("--json");
  let command = CLEAR;
  let parsed: Parsed | undefined;
  try {
    const [first, ...rest] = args;
    command = commandNamed(first);
    parsed = parse(command, command === CLEAR ? args : rest);
    if (parsed.count("help")) {
      print(help(command).trimEnd());
      return 0;
    }
    if (parsed.count("version")) {
      print(`rebuild-cache ${config.version} (Deno ${Deno.version.deno})`);
      return 0;
    }
    if (args.length === 0) {
      throw new UsageError("No --dir was given, and no command");
    }
    setUpLogging(parsed.count("quiet") > 0, parsed.count("verbose"));
    return await run(command, parsed);
  } catch (error) {
    if (error instanceof UsageError) {
      const end = error.message.endsWith("?") ? "" : ".";
      complain(`${error.message}${end} Try rebuild-cache --help`);
    } else if (error instanceof LockedError && parsed) {
      return endBusy(parsed, error);
    } else if (error instanceof CacheError) {
      complain(error.message);
    } else {
      complain(unexpected(error));
    }
    const kind = error instanceof UsageError ? "usage" : kindOfError(error);
    const message = error instanceof CacheError || error instanceof UsageError
      ? error.message
      : unexpected(error);
    if (parsed ? parsed.count("json") > 0 : json) {
      try {
        printJson(parsed?.command ?? (command.name || "clear"), {
          error: { kind, message },
        });
      } catch {
        // It was said already, as far as it can be.
      }
    }
    return kind === "usage" || kind === "refused" ? 2 : 1;
  }
}

/** What nobody has thought of: one line all the same. */
function unexpected(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  const isOs = osErrorNumber(error) !== undefined;
  return isOs
    ? `Failed: ${said}`
    : `Unexpected: ${said}. Please report it with what you did: ${ISSUES}`;
}

const ISSUES = "https://github.com/rebuild-cache/rebuild-cache/issues";

/** Each command's module is loaded when it is needed. */
async function run({ name }: Command, parsed: Parsed): Promise<number> {
  switch (name) {
    case "use":
      return await (await import("./use.ts")).useCommand(parsed);
    case "link":
      return await (await import("./link.ts")).linkCommand(parsed);
    case "put":
      return await (await import("./put.ts")).putCommand(parsed);
    case "get":
      return await (await import("./get.ts")).getCommand(parsed);
    case "ensure":
      return await (await import("./ensure.ts")).ensureCommand(parsed);
    case "ls":
      return (await import("./ls.ts")).lsCommand(parsed);
    case "prune":
      return await (await import("./prune.ts")).pruneCommand(parsed);
    case "verify":
      return await (await import("./verify.ts")).verifyCommand(parsed);
    case "completions":
      return (await import("./completions.ts")).completionsCommand(parsed);
    case "man":
      return (await import("./man.ts")).manCommand(parsed);
    case "doctor":
      return await (await import("./doctor.ts")).doctorCommand(parsed);
  }
  return parsed.run
    ? await (await import("./rebuild.ts")).rebuildCommand(parsed)
    : await (await import("./clear.ts")).clearCommand(parsed);
}

function commandNamed(word: string | undefined): Command {
  if (word === undefined || word.startsWith("-")) return CLEAR;
  const found = COMMANDS.find(({ name }) => name === word);
  if (found) return found;
  const names = COMMANDS.map(({ name }) => name).filter(Boolean);
  const near = nearest(word, names);
  throw new UsageError(
    near
      ? `Unknown command ${word}: did you mean ${near}?`
      : `"${word}" is not a command. To clear a directory, say --dir ${word}`,
  );
}
