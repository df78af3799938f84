/**
 * The progress bar: what it says at each width, and what a terminal shows of real runs
 * that take long. The calls of the file system are made slow, so it need not be much.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { meterLine } from "../../lib/cli/progress.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, TempDir } from "../support/temp_dir.ts";
import { runInTerminal, SLOWLY } from "../support/terminal.ts";

const HASHING = {
  verb: "Hashing",
  what: "files",
  done: 1234,
  total: 5000,
  bytes: 12_340_000,
  totalBytes: 29_300_000,
};
const IN_CACHE = { name: "node_modules", elapsed: 3000 };

Deno.test("meterLine() leaves out whole parts, the least important first, to fit", () => {
  for (
    const [columns, line] of [
      [8, "Hashing"],
      [20, "Hashing 42%"],
      [
        40,
        "Hashing 42%, 1,234 of 5,000 files",
      ],
      [
        80,
        "Hashing [====>     ] 42%, 1,234 of 5,000 files, 12.3 MB, 4.1 MB/s, 5 s left",
      ],
      [
        200,
        `Hashing node_modules [${"=".repeat(12)}>${
          " ".repeat(17)
        }] 42%, 1,234 of 5,000 files, 12.3 MB of 29.3 MB, 4.1 MB/s, 5 s left`,
      ],
    ] as const
  ) assertEquals(meterLine(HASHING, { ...IN_CACHE, columns }), line);
});

Deno.test("meterLine() counts where it does not know of how many", () => {
  const { verb, what, done } = HASHING;
  for (
    const [columns, line] of [
      [14, "Hashing 1,234"],
      [20, "Hashing 1,234 files"],
      [40, "Hashing 1,234 files, 411 files/s"],
      [80, "Hashing node_modules 1,234 files, 411 files/s"],
    ] as const
  ) {
    const now = { verb, what, done };
    assertEquals(meterLine(now, { ...IN_CACHE, columns }), line);
  }
  assertEquals(
    meterLine({ verb: "Copying", what: "files", done: 0 }, {
      ...{ name: "big", elapsed: 12_300, columns: 80 },
    }),
    "Copying big 12 s",
  );
});

Deno.test("meterLine() cuts no number, and never wraps, at any width", () => {
  const numbers = new Set(
    ["42%", "1,234", "5,000", "12.3", "29.3", "4.1", "5"],
  );
  for (let columns = 1; columns < 250; columns++) {
    const line = meterLine(HASHING, { ...IN_CACHE, columns });
    assert(line.length < columns, `${columns}: ${line}`);
    for (const [number] of line.matchAll(/\d[\d,.]*%?(?<!,)/g)) {
      assert(numbers.has(number), `${columns}: ${line}`);
    }
  }
});

Deno.test("meterLine() shows no more than all, and names without control characters", () => {
  const line = meterLine(
    { ...HASHING, bytes: 99e9 },
    { name: "a\u001b[31m\r\n缓存", elapsed: 10, columns: 200 },
  );
  assertEquals(
    line,
    `Hashing a?[31m??缓存 [${
      "=".repeat(30)
    }] 100%, 1,234 of 5,000 files, 99.0 GB of 29.3 MB`,
  );
});

/** A verb, then a name, a bar and numbers, as far as they are there. */
const LINE =
  /^(Copying|Linking|Hashing|Deleting|Reading|Verifying)( [a-z.]+| \/\S+)?( \[=*>? *\])?( \d+%)?(,? [\d,]+( of [\d,]+)?( files| entries| archives| keys)?)?(, [\d.]+ k?B( of [\d.]+ k?B)?)?(, [\d.,]+ (k?B|files|entries)\/s)?(,? \d+ s left)?$/;

const NEEDS = ["linux", "strace", "python3", "ffi"];
const STORE = ["--dir", "store"];
const COPY = ["--", "cp", "-r", "src/.", "{}"];

for (
  const [what, args, verbs, columns] of [
    ["put", ["put", "k", "src", ...STORE], ["Copying", "Hashing"], [
      20,
      40,
      80,
      200,
    ]],
    ["link", ["link", "src", "out", "--mode", "hardlink"], ["Linking"], [40]],
    ["link --mode copy", ["link", "src", "out", "--mode", "copy"], [
      "Copying",
    ], [80]],
    ["get", ["get", "key", "out", ...STORE], ["Copying"], [40]],
    ["verify", ["verify", ...STORE], ["Verifying"], [80]],
    [
      "ensure",
      ["ensure", "k", "out", ...STORE, "--hash", "src/**", ...COPY],
      ["Hashing", "Copying"],
      [80],
    ],
    ["clear", ["clear", "src"], ["Deleting"], [20, 80]],
    ["prune", ["prune", "--max-entries", "0", ...STORE], ["Deleting"], [80]],
  ] as const
) {
  test(
    `rebuild-cache ${what} shows how far it is, in one line of a terminal, and erases it`,
    NEEDS,
    async () => {
      for (const width of columns) {
        await using dir = TempDir.make();
        makeManyFiles(dir.at("src"), 10, 12);
        const put = await runCli(["put", "key", "src", ...STORE], {
          cwd: dir.path,
        });
        assertEquals(put.code, 0, put.stderr);
        const { code, bars, screen } = await runInTerminal([...args], {
          columns: width,
          wrap: SLOWLY,
          cwd: dir.path,
          env: { NO_COLOR: "1" },
        });
        assertEquals(code, 0, screen);
        for (const bar of bars) {
          assertMatch(bar, LINE);
          assert(bar.length < width, bar);
        }
        const shown = new Set(bars.map((bar) => bar.split(" ")[0]!));
        assertEquals([...shown].sort(), [...verbs].sort(), screen);
        if (what !== "link" && what !== "link --mode copy") {
          assert(bars.some((bar) => / \d+%/.test(bar)), bars.join("\n"));
        }
        // One line of a result, and nothing beside it.
        assertMatch(screen, /^[A-Z][a-z]+ .*\n$/);
      }
    },
  );
}

test(
  "rebuild-cache shows no progress without a terminal for it, or where it is told to be quiet",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("src"), 10, 12);
    const options = { columns: 80, wrap: SLOWLY, cwd: dir.path };
    const link = ["link", "src", "out", "--if-exists", "replace"];
    for (
      const [more, env] of [
        [["-q"], {}],
        [["--json"], {}],
        [["-v"], {}],
        [[], { TERM: "dumb" }],
        [[], { CI: "true" }],
        [[], { REBUILD_CACHE_JSON: "true" }],
      ] as const
    ) {
      const seen = await runInTerminal([...link, ...more], { ...options, env });
      assertEquals([seen.code, seen.bars], [0, []], seen.screen);
      assert(!seen.screen.includes("\u001b"), JSON.stringify(seen.screen));
    }
  },
);

test(
  "rebuild-cache colors the progress bar, and with NO_COLOR only shows it",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("src"), 10, 12);
    const options = { columns: 80, wrap: SLOWLY, cwd: dir.path };
    const link = ["link", "src", "out", "--if-exists", "replace"];
    for (const NO_COLOR of ["", "1"]) {
      const { bars } = await runInTerminal(link, {
        ...options,
        env: { NO_COLOR },
      });
      assert(bars.length > 0);
      for (const bar of bars) {
        assertEquals(bar.includes("\u001b["), NO_COLOR === "", bar);
      }
    }
  },
);

test(
  "rebuild-cache prints other lines in place of the progress bar",
  NEEDS,
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("src"), 10, 12);
    const script = 'cp -r src/. "$1" && echo "$1" > "$1/names-it"';
    const { code, bars, screen } = await runInTerminal(
      ["ensure", "k", "out", ...STORE, "--", "sh", "-c", script, "sh", "{}"],
      { columns: 60, wrap: SLOWLY, cwd: dir.path },
    );
    assertEquals(code, 0, screen);
    assert(bars.length > 0);
    assertMatch(
      screen,
      /^rebuild-cache: warning: What was built for "k" has .*"names-it"\nBuilt k\. Linked .*\n$/,
    );
  },
);
