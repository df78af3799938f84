import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import { sweepAsides } from "../../lib/clear/sweep.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

// deno-lint-ignore no-explicit-any -- what TypeScript would refuse is what is tried
type Any = any;

const WRONG: [
  name: string,
  value: Any,
  error: typeof TypeError | typeof RangeError,
][] = [
  ["wait", NaN, RangeError],
  ["wait", -1, RangeError],
  ["wait", "5", TypeError],
  ["lock", "no", TypeError],
  ["follow", 1, TypeError],
  ["signal", {}, TypeError],
  ["purpose", 3, TypeError],
];

Deno.test("clearCache(), sweepAsides() and rebuildCache() say which argument is wrong, and touch nothing", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { old: "" } });
  const cache = dir.at("cache");
  const build = (at: string) => Deno.writeTextFileSync(`${at}/new`, "");
  const assertWrong = async (
    call: () => Promise<unknown>,
    name: string,
    error: typeof TypeError | typeof RangeError,
  ) => {
    const { message } = await assertRejects(call, error) as Error;
    assertStringIncludes(message, name);
  };
  for (const [name, value, error] of WRONG) {
    const options: Any = { [name]: value };
    await assertWrong(() => clearCache(cache, options), name, error);
    await assertWrong(() => sweepAsides(cache, options), name, error);
    await assertWrong(() => rebuildCache(cache, build, options), name, error);
  }
  for (const given of [null, "wait", 5] as Any[]) {
    await assertWrong(() => clearCache(cache, given), "options", TypeError);
    await assertWrong(
      () => rebuildCache(cache, build, given),
      "options",
      TypeError,
    );
  }
  for (const at of [undefined, 5, new URL("https://example.com/x")] as Any[]) {
    await assertWrong(() => clearCache(at), "dir", TypeError);
    await assertWrong(() => rebuildCache(at, build), "dir", TypeError);
  }
  for (const given of [undefined, null, "make"] as Any[]) {
    await assertWrong(() => rebuildCache(cache, given), "build", TypeError);
  }
  const busyTimeout = NaN;
  await assertWrong(
    () => clearCache(cache, { busyTimeout }),
    "busyTimeout",
    RangeError,
  );
  for (const options of [{ share: 5 as Any }, { share: "x", lock: false }]) {
    await assertWrong(
      () => rebuildCache(cache, build, options),
      "share",
      TypeError,
    );
  }
  assertEquals(namesIn(cache), ["old"]);
  assertEquals([...Deno.readDirSync(dir.path)].length, 1);
});
