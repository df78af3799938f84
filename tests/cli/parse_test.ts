// The parser, and the types of what it gives.
import {
  assertEquals,
  assertObjectMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { Command } from "../../lib/cli/commands.ts";
import { UsageError } from "../../lib/cli/flag.ts";
import type { Call, CLEAR, GET, PRUNE, REBUILD } from "../../lib/cli/flags.ts";
import { parse, readLine, wantsJson } from "../../lib/cli/parse.ts";

// What must not compile does not: `deno task check` fails if one of these lines
// has no error any more.

/** Never called: it is only checked. */
export function misspelt(
  clear: Call<typeof CLEAR>,
  get: Call<typeof GET>,
  prune: Call<typeof PRUNE>,
) {
  const known: [boolean, readonly string[], string, number | undefined] = [
    clear.values.dryRun,
    clear.values.dir,
    get.values.key,
    get.values.wait,
  ];
  const mode:
    | "auto"
    | "private"
    | "reflink"
    | "clone"
    | "hardlink"
    | "symlink"
    | "copy" = get.values.mode;
  const limit: number | undefined = prune.values.maxSize;
  return [
    known,
    mode,
    limit,
    // @ts-expect-error a flag that is not spelt so
    clear.values.dryrun,
    // @ts-expect-error a flag of another command
    clear.values.maxSize,
    // @ts-expect-error a word of another command
    prune.values.key,
    // @ts-expect-error a value that the flag can't have
    get.values.ifBusy === "waiting",
    // @ts-expect-error one of many is not one
    clear.values.dir.startsWith("/"),
    // @ts-expect-error what may not have been given
    prune.values.maxSize.toFixed(),
  ];
}

/** Takes what `rebuild` has, so it can't be the module of `get`. */
export function rebuildOnly(_call: Call<typeof REBUILD>): number {
  return 0;
}

// @ts-expect-error another command's call has other flags
export const wrongModule: (call: Call<typeof GET>) => number = rebuildOnly;

// @ts-expect-error a command without a module that runs it
export const noModule: Command = {
  name: "stats",
  group: "keyed",
  usage: "stats --dir ROOT",
  summary: "",
  doc: "",
  flags: [],
  words: [],
  examples: [["", ""], ["", ""]],
};

/** Parses a whole command line. */
function parsed(...args: string[]) {
  const { values, run, command, line } = parse(readLine(args));
  return { values: values as Record<string, unknown>, run, command, line };
}

/** Says why it is not understood. */
function refused(...args: string[]): string {
  return assertThrows(() => parsed(...args), UsageError).message;
}

Deno.test("parse() gives each value in its type, and the defaults", () => {
  const prune = ["prune", "--dir", "c", "--max-age", "2h", "--max-size=1.5kB"];
  assertObjectMatch(parsed(...prune, "--max-entries", "0", "-vv").values, {
    dir: "c",
    maxAge: 7_200_000,
    maxSize: 1500,
    maxEntries: 0,
    dryRun: false,
    ifBusy: "wait",
    wait: undefined,
    noLock: false,
    verbose: 2,
    quiet: false,
  });
  const get = ["get", "k", "d", "--dir=c", "--no-lock", "--mutable", "*.a"];
  assertObjectMatch(parsed(...get, "--mutable=*.b").values, {
    key: "k",
    dst: "d",
    bucket: "default",
    mode: "private",
    jobs: 2,
    mutable: ["*.a", "*.b"],
    maxLinks: undefined,
    noLock: true,
  });
});

Deno.test("parse() takes flags of every command anywhere before a --", () => {
  for (
    const args of [
      ["-q", "--json", "link", "a", "b"],
      ["link", "-q", "a", "--json", "b"],
      ["--json", "link", "a", "b", "-q"],
    ]
  ) {
    const { values, command } = parsed(...args);
    assertEquals(command, "link");
    assertObjectMatch(values, { src: "a", dst: "b", quiet: true, json: true });
  }
  const use = parsed("-v", "use", "a", "b", "--", "make", "-q", "--", "--json");
  assertObjectMatch(use.values, {
    dir: ["a", "b"],
    verbose: 1,
    quiet: false,
    json: false,
  });
  assertEquals(use.run, ["make", "-q", "--", "--json"]);
});

Deno.test("parse() takes --dir wherever a DIR is meant, and DIR where --dir is", () => {
  for (const args of [["--dir", "a"], ["clear", "a"], ["clear", "--dir=a"]]) {
    const { command, values } = parsed(...args);
    assertEquals([command, values.dir], ["clear", ["a"]]);
  }
  for (
    const args of [
      ["--dir", "a", "--", "make"],
      ["rebuild", "a", "--", "make"],
      ["rebuild", "--dir", "a", "--", "make"],
    ]
  ) {
    const { command, values, run } = parsed(...args);
    assertEquals([command, values.dir, run], ["rebuild", "a", ["make"]]);
  }
  const doctor = { dir: "a", dst: "b" };
  assertObjectMatch(parsed("doctor", "a", "b").values, doctor);
  assertObjectMatch(parsed("doctor", "--dir", "a", "b").values, doctor);
  assertStringIncludes(
    refused("clear", "--dir", "a", "b"),
    "one word too many",
  );
  assertStringIncludes(refused("use", "--dir", "a", "b", "--", "c"), '"b"');
});

Deno.test("parse() ends the flags at --, so that a key may begin with a -", () => {
  const put = parsed("put", "--dir", "c", "--", "-key", "--src");
  assertObjectMatch(put.values, { key: "-key", src: "--src" });
  const ensure = ["ensure", "--dir", "c"];
  const simple = parsed(...ensure, "k", "d", "--", "tar", "--", "x");
  assertObjectMatch(simple.values, { key: "k", dst: "d" });
  assertEquals(simple.run, ["tar", "--", "x"]);
  const dashed = parsed(...ensure, "--", "-k", "-d", "--", "tar", "--", "x");
  assertObjectMatch(dashed.values, { key: "-k", dst: "-d" });
  assertEquals(dashed.run, ["tar", "--", "x"]);
  const use = parsed("use", "--dir", "a", "--", "make", "--", "x");
  assertEquals(use.run, ["make", "--", "x"]);
  assertStringIncludes(refused(...ensure, "--", "make"), "KEY is missing");
  assertStringIncludes(refused(...ensure, "k", "--", "a", "--", "b"), "DST");
});

Deno.test("parse() takes nothing of a COMMAND for a directory to clear", () => {
  assertStringIncludes(
    refused("clear", "wheels", "--", "pip", "wheel"),
    "clear runs no command",
  );
  assertStringIncludes(refused("--dir", "a", "pip"), '"pip"');
  assertStringIncludes(refused("rebuild", "a", "pip"), "There is no --");
});

Deno.test("wantsJson() knows before anything is parsed", () => {
  assertEquals(wantsJson(["nonsense", "--json", "--nope"]), true);
  assertEquals(wantsJson(["use", "a", "--", "make", "--json"]), false);
});

Deno.test("readLine() advises the nearest command, and clears nothing by its advice", () => {
  const advice = (word: string) =>
    assertThrows(() => readLine([word]), UsageError).message;
  assertStringIncludes(advice("liink"), "did you mean link?");
  assertStringIncludes(advice("clean"), "did you mean clear?");
  assertStringIncludes(advice("list"), "did you mean ls?");
  for (const word of ["./cache", "~/.cache/pip", "a/b", "lib"]) {
    assertEquals(advice(word).includes(`clear ${word}`), false, word);
  }
  assertStringIncludes(refused("--dir", "a", "ls"), "ls comes first");
  assertStringIncludes(
    refused("clear", "a", "--in-place"),
    "--in-place is a flag of rebuild, not of clear",
  );
});
