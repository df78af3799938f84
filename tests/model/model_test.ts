import { assertEquals } from "@std/assert";
import { HttpCache } from "../support/http_cache.ts";
import {
  type FileSystem,
  makeFileSystem,
  mountTest,
  TOOLS,
} from "../support/mounts.ts";
import { Place, runModel } from "../support/model_run.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;

/** Six processes do what they draw; what they saw must be what a simple model allows. */
async function model(
  title: string,
  folder: string,
  log: string,
  kill: boolean,
  remote?: HttpCache,
): Promise<void> {
  const seed = Deno.env.get("REBUILD_CACHE_SEED") ??
    crypto.randomUUID().slice(0, 8);
  const stress = STRESS ? { times: 20, seconds: 60 } : { times: 1, seconds: 0 };
  const { violations, counts, kills } = await runModel(
    new Place(folder, log, seed, remote),
    { seed, kill, ...stress },
  );
  const by = (kind: string) =>
    `${violations.filter((it) => it.kind === kind).length} ${kind}`;
  const found = ["lost", "stale", "foreign", "left", "failed"].map(by);
  const repeat = `REBUILD_CACHE_SEED=${seed} ${
    STRESS ? "REBUILD_CACHE_STRESS=1 " : ""
  }deno test -A tests/model --filter "/^${title}$/"`;
  const figures = `${found.join(", ")}; ${kills} kills; ${
    JSON.stringify(counts)
  }\nThe same draws (in another order among processes): ${repeat}`;
  // deno-lint-ignore no-console -- figures to tell
  console.log(figures);
  const first = violations.slice(0, 10)
    .map(({ kind, message }) => `${kind}: ${message}`);
  assertEquals(first, [], figures);
}

for (const kill of [false, true]) {
  const killed = kill ? ", although one is killed every 300 ms" : "";
  const name = `Cache does what its model does with six processes`;
  const here = `${name}${killed}`;
  test(here, ["posix"], async () => {
    await using dir = TempDir.make();
    Deno.mkdirSync(dir.at("fs"));
    await model(here, dir.at("fs"), dir.at("log"), kill);
  });
  if (!kill && !STRESS) continue; // once is enough for every day
  const shared = `${name} and a remote${killed}`;
  test(shared, ["posix"], async () => {
    await using dir = TempDir.make();
    for (const name of ["fs", "remote"]) Deno.mkdirSync(dir.at(name));
    await using remote = new HttpCache(dir.at("remote"));
    await model(shared, dir.at("fs"), dir.at("log"), kill, remote);
  });
  const kinds: FileSystem[] = ["ext4", "btrfs", "tmpfs"];
  for (const kind of STRESS ? [...kinds, "xfs"] as const : kinds) {
    const there = `${name} on ${kind}${killed}`;
    mountTest(import.meta.url, there, TOOLS[kind], async (dir) => {
      const at = await makeFileSystem(dir, kind);
      await model(there, at, dir.at("log"), kill);
    });
  }
}
