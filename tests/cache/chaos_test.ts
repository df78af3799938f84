import { assert, assertEquals } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { idOf } from "../../lib/cache/layout.ts";
import { Peer } from "../support/command.ts";
import {
  type FileSystem,
  makeFileSystem,
  mountTest,
  TOOLS,
} from "../support/mounts.ts";
import { namesIn, type TempDir } from "../support/temp_dir.ts";

const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;
const SECONDS = STRESS ? 60 : 3;

const CREW = [
  ...["publisher", "publisher", "ensurer", "reader"],
  ...["reader", "pruner", "clearer", "rebuilder"],
];

interface Event {
  event: string;
  at: number;
  key?: string;
  id?: string;
  message?: string;
}

/** Lets eight processes loose on one cache, and looks at what they leave. */
async function chaos(
  dir: TempDir,
  fileSystem: string,
  kill: boolean,
): Promise<void> {
  const root = `${fileSystem}/cache`;
  Deno.mkdirSync(dir.at("logs"));
  const crew = CREW.map((role, i) => ({ role, i }));
  const begin = ({ role, i }: typeof crew[number]) =>
    Peer.support("chaos.ts", role, root, dir.at("logs", `${i}-${role}`));
  const peers = crew.map(begin);
  const end = Date.now() + SECONDS * 1000;
  let kills = 0;
  while (Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const dead = peers.find(({ over }) => over);
    if (dead) throw new Error(`It died: ${(await dead.end()).heard}`);
    if (!kill) continue;
    const one = Math.floor(Math.random() * peers.length);
    peers[one]!.kill("SIGKILL");
    await peers[one]!.end();
    peers[one] = begin(crew[one]!);
    kills++;
  }
  for (const peer of await Promise.all(peers.map((peer) => peer.end()))) {
    assertEquals(peer.code, 0, peer.heard);
  }

  const events: Event[] = namesIn(dir.at("logs")).flatMap((name) =>
    Deno.readTextFileSync(dir.at("logs", name)).split("\n")
      .filter((line) => line.endsWith("}")).map((line) => JSON.parse(line))
  ).sort((a, b) => a.at - b.at);
  const counts: Record<string, number> = {};
  for (const { event } of events) counts[event] = (counts[event] ?? 0) + 1;
  // deno-lint-ignore no-console -- figures to tell
  console.log(`${SECONDS} s, ${kills} kills: ${JSON.stringify(counts)}`);
  for (const event of ["committed", "read", "pruned", "evicting"]) {
    assert(counts[event]! > 0, event);
  }

  const cache = openCache(root);
  assertNothingLost(events, new Set(cache.entries().map(({ key }) => key)));
  // The last one may have been who clears: then this makes it again.
  await cache.put("last", dir.at("logs"));
  await cache.prune();
  const { damaged } = await cache.verify();
  assertEquals(damaged, []);
  assertOnlyLayout(root);
  await clearCache(root);
  const left = namesIn(fileSystem).filter((name) => name !== "lost+found");
  assertEquals(left, []);
}

/** A key that was committed is there, or was evicted or cleared since. */
function assertNothingLost(
  events: readonly Event[],
  there: ReadonlySet<string>,
): void {
  const cleared = Math.max(
    0,
    ...events.filter(({ event }) => event === "clearing" || event === "cleared")
      .map(({ at }) => at),
  );
  const evicted = events.filter(({ event }) => event === "evicting")
    .map(({ message }) => message!).join();
  const last = new Map<string, Event>();
  for (const event of events) {
    if (event.event === "committed") last.set(event.key!, event);
  }
  for (const { key, at, id } of last.values()) {
    // Two that end together may have been placed in either order.
    if (there.has(key!) || at <= cleared || evicted.includes(id!)) continue;
    const others = events.filter((other) =>
      other.event === "committed" && other.key === key &&
      Math.abs(other.at - at) < 200 && evicted.includes(other.id!)
    );
    assert(others.length > 0, `${key} (${id}) is lost`);
  }
}

/** Nothing is left but what the layout names. */
function assertOnlyLayout(root: string): void {
  const ids = namesIn(`${root}/archive-v0`);
  for (const id of ids) assertEquals(idOf(id), id);
  assertEquals(namesIn(`${root}/tmp`), []);
  const leases = [...Deno.readDirSync(`${root}/leases`)]
    .map(({ name }) => name.slice(0, -".lock".length)).sort();
  assertEquals(leases, ids);
  const pointed = [...Deno.readDirSync(`${root}/default-v0`)]
    .map(({ name }) => Deno.readLinkSync(`${root}/default-v0/${name}`))
    .map((target) => target.split("/")[2]!).sort();
  assertEquals(pointed, ids);
  const known = [
    ...["CACHEDIR.TAG", "archive-v0", "blobs-v0", "default-v0"],
    ...["leases", "locks", "quarantine", "tmp"],
  ];
  assertEquals(namesIn(root), known);
}

for (const kind of ["ext4", "btrfs", "xfs"] satisfies FileSystem[]) {
  for (const kill of [false, true]) {
    const killed = kill ? ", although one is killed every 100 ms" : "";
    mountTest(
      import.meta.url,
      `Cache keeps its word to eight processes on ${kind}${killed}`,
      TOOLS[kind],
      async (dir) => {
        await chaos(dir, await makeFileSystem(dir, kind), kill);
      },
    );
  }
}
