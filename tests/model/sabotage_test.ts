// The whole of it, with a real cache that somebody spoils behind everybody's back: what
// is lost, stale or foreign there must be found.
import { assert, assertEquals } from "@std/assert";
import { filesBelow } from "../support/model_content.ts";
import type { Violation } from "../support/model.ts";
import { Place } from "../support/model_run.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const PUTS: readonly string[] = Array(20).fill("put");

/** Puts much twice; spoils it; reads all of it. */
async function spoiled(
  spoil: (root: string, first: Map<string, string>) => void,
): Promise<Violation["kind"][]> {
  await using dir = TempDir.make();
  const place = new Place(dir.path, dir.at("log"), "seed");
  await place.once(1, ...PUTS);
  const first = pointersOf(place.root);
  await place.once(2, ...PUTS, "hold");
  assertEquals(place.check(), []);
  spoil(place.root, first);
  await place.once(3, "hold");
  return [...new Set(place.check().map(({ kind }) => kind))];
}

/** All symbolic links to archives, and where they lead. */
function pointersOf(root: string): Map<string, string> {
  const links = filesBelow(root).flatMap((name): [string, string][] => {
    const path = `${root}/${name}`;
    if (!Deno.lstatSync(path).isSymlink) return [];
    const target = Deno.readLinkSync(path);
    return /archive-v\d+/.test(target) ? [[path, target]] : [];
  });
  assert(links.length > 0);
  return new Map(links);
}

test("runModel() finds lost what somebody takes away", ["posix"], async () => {
  const found = await spoiled((root) => {
    for (const path of pointersOf(root).keys()) Deno.removeSync(path);
  });
  assertEquals(found, ["lost"]);
});

test(
  "runModel() finds stale what somebody brings back",
  ["posix"],
  async () => {
    const found = await spoiled((_, first) => {
      for (const [path, target] of first) {
        Deno.removeSync(path);
        Deno.symlinkSync(target, path);
      }
    });
    assertEquals(found, ["stale"]);
  },
);

test("runModel() finds foreign what somebody writes", ["posix"], async () => {
  const found = await spoiled((root) => {
    const [[path, target] = []] = pointersOf(root);
    const file = `${path!.slice(0, path!.lastIndexOf("/"))}/${target}/about`;
    Deno.writeTextFileSync(file, "spoiled", { append: true });
  });
  assertEquals(found, ["foreign"]);
});
