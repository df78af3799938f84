// chaos.ts ROLE ROOT LOG: does what its role says with the cache at ROOT, until its
// standard input ends. Each event is one line of JSON in LOG before or after it
// happens, so that a process that is killed has told what it may have done.
import { openCache } from "../../lib/cache/cache.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { LockedError } from "../../lib/lock/file.ts";
import { setLogSink } from "../../lib/log.ts";

export const KEYS = 20;
const FILES = 25;

const [role, root, log] = Deno.args as [string, string, string];
const file = Deno.openSync(log, { append: true, create: true });
const say = (event: string, more: object = {}) => {
  const at = performance.timeOrigin + performance.now();
  const line = JSON.stringify({ event, at, ...more });
  file.writeSync(new TextEncoder().encode(`${line}\n`));
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const random = (below: number) => Math.floor(Math.random() * below);
const cache = openCache(root, { wait: 30_000 });

/** Every file says which version it is of, where it lies, and ends in a known way. */
function content(version: string, name: string): string {
  return `${version} ${name} `.repeat(20) + "end";
}

function fill(dir: string, version: string): void {
  for (let i = 0; i < FILES; i++) {
    const folder = `${dir}/${i % 5}`;
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(`${folder}/${i}`, content(version, String(i)));
  }
  Deno.writeTextFileSync(`${dir}/version`, version);
}

function check(dir: string): void {
  const version = Deno.readTextFileSync(`${dir}/version`);
  for (let i = 0; i < FILES; i++) {
    const text = Deno.readTextFileSync(`${dir}/${i % 5}/${i}`);
    if (text !== content(version, String(i))) {
      throw new Error(`${dir}/${i % 5}/${i} is foreign: ${text.slice(0, 80)}`);
    }
  }
}

async function publish(key = `key-${random(KEYS)}`): Promise<void> {
  await using staging = await cache.stage(key);
  fill(staging.path, crypto.randomUUID());
  say("committing", { key });
  const { id } = await staging.commit();
  say("committed", { key, id });
}

const ROLES: Record<string, () => Promise<void>> = {
  publisher: () => publish(),
  async reader() {
    await using entry = await cache.get(`key-${random(KEYS)}`);
    if (!entry) return say("miss");
    check(entry.path);
    await pause(random(20));
    check(entry.path);
    say("read");
  },
  async ensurer() {
    const key = `key-${random(KEYS)}`;
    const { entry, built } = await cache.ensure(key, (at) => {
      fill(at, crypto.randomUUID());
    });
    using _ = entry;
    check(entry.path);
    say(built ? "committed" : "hit", { key, id: entry.id });
  },
  async pruner() {
    await pause(50);
    const { failures } = await cache.prune({ maxEntries: 10 });
    if (failures.length > 0) throw new Error(JSON.stringify(failures));
    say("pruned");
  },
  async clearer() {
    await pause(random(2000));
    say("clearing");
    const { left } = await clearCache(root);
    if (left.length > 0) throw new Error(JSON.stringify(left));
    say("cleared");
  },
  async rebuilder() {
    await pause(random(2000));
    say("clearing");
    await rebuildCache(root, async (at) => {
      const cache = openCache(at);
      await using staging = await cache.stage("key-0");
      fill(staging.path, crypto.randomUUID());
      await staging.commit();
    });
    say("cleared");
  },
};

let open = true;
Deno.stdin.read(new Uint8Array(1)).then(() => open = false);
setLogSink({
  debug(message) {
    if (message.startsWith("Evicting")) say("evicting", { message });
  },
  warn: (message) => say("warning", { message }),
});
Deno.stdout.writeSync(new TextEncoder().encode("begun\n"));
while (open) {
  try {
    await ROLES[role]!();
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    say("busy", { message: error.message });
  }
  await pause(0);
}
