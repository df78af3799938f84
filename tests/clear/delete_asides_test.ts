import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { siblingName } from "../../lib/fs/names.ts";
import { must, run } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const MODULE = fromFileUrl(
  new URL("../../lib/clear/delete_asides.ts", import.meta.url),
);

/** Runs it as a clear in the background does: from anywhere, without a package. */
async function deleteAsides(dir: TempDir, ...args: string[]): Promise<void> {
  await using cwd = TempDir.make();
  const command = [Deno.execPath(), "run", "--quiet", "--no-config", "-A"];
  const env = { DENO_NO_PACKAGE_JSON: "1" };
  const { code, stderr } = await run(
    [...command, "--no-lock", "--no-remote", "--no-npm", MODULE, ...args],
    { cwd: cwd.path, env },
  );
  assertEquals([code, stderr], [0, ""], namesIn(dir.path).join());
}

Deno.test("delete_asides.ts deletes asides, and runs without any package", async () => {
  await using dir = TempDir.make();
  const names = [siblingName("cache", "stale"), siblingName("", "stale")];
  for (const name of names) dir.write({ [name]: { a: { file: "x" } } });
  dir.write({ cache: { a: "" } });
  const missing = dir.at("missing", siblingName("cache", "stale"));
  await deleteAsides(dir, ...names.map((name) => dir.at(name)), missing);
  assertEquals(namesIn(dir.path), ["cache"]);
});

test("delete_asides.ts leaves alone what is no aside of ours", [
  "linux",
  "root",
], async () => {
  await using dir = TempDir.make();
  const [link, file, theirs] = [1, 2, 3].map(() =>
    siblingName("cache", "stale")
  ) as [string, string, string];
  dir.write({ cache: { a: "" }, [file]: "x", [theirs]: { a: "" } });
  Deno.symlinkSync("cache", dir.at(link));
  await must("chown", "65534:65534", dir.at(theirs));
  const all = namesIn(dir.path);
  await deleteAsides(dir, ...all.map((name) => dir.at(name)));
  assertEquals(namesIn(dir.path), all);
  assertEquals(namesIn(dir.at("cache")), ["a"]);
  // The owner's of the directory that was cleared.
  await deleteAsides(dir, "--owner=65534", dir.at(theirs));
  assertEquals(namesIn(dir.path), all.filter((name) => name !== theirs));
});
