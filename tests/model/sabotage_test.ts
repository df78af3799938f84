// The whole of it, with a real cache that somebody spoils behind everybody's back: what
// is lost, stale or foreign there must be found.
import { assert, assertEquals } from "@std/assert";
import { filesBelow } from "../support/model_content.ts";
import { HttpCache } from "../support/http_cache.ts";
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
  const first = pointersOf(place.roots[0]!);
  await place.once(2, ...PUTS, "hold");
  assertEquals(place.check(), []);
  spoil(place.roots[0]!, first);
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

/** What the remote answers for keys: by the name of each file, what is in it. */
type Answers = Map<string, Uint8Array>;

/** Puts much twice; lets the remote answer something else; pulls all of it. */
async function misled(
  mislead: (now: Answers, first: Answers) => Answers,
): Promise<Violation["kind"][]> {
  await using dir = TempDir.make();
  Deno.mkdirSync(dir.at("remote"));
  await using remote = new HttpCache(dir.at("remote"));
  const answers = (): Answers =>
    new Map(
      remote.names("ac").sort()
        .map((name) => [name, Deno.readFileSync(remote.path("ac", name))]),
    );
  const place = new Place(dir.path, dir.at("log"), "seed", remote);
  await place.once(1, ...PUTS);
  const first = answers();
  await place.once(2, ...PUTS);
  assertEquals(place.check(), []);
  for (const [name, answer] of mislead(answers(), first)) {
    Deno.writeFileSync(remote.path("ac", name), answer);
  }
  await place.once(3, "pull");
  return [...new Set(place.check().map(({ kind }) => kind))].sort();
}

test(
  "runModel() finds stale what the remote brings back, or foreign where it never was",
  ["posix"],
  async () => {
    const found = await misled((_, first) => first);
    assertEquals(found, ["foreign", "stale"]);
  },
);

test(
  "runModel() finds foreign what the remote mixes up",
  ["posix"],
  async () => {
    const found = await misled((now) => {
      const all = [...now.values()];
      return new Map([...now.keys()].map((name, i) => [name, all.at(i - 1)!]));
    });
    assertEquals(found, ["foreign"]);
  },
);
